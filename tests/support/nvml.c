/* A stand-in for NVIDIA's libnvidia-ml.so.1, which says what a file says (see nvml.py).

   $ENVKIT_TEST_NVML names the file, which is read anew at each call, so that a test can let things
   happen. Prototypes and numbers are those of the NVML API Reference Guide. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7,
       NOT_LOADED = 9, IS_LOST = 15, MISMATCH = 18 };
enum { MOST = 64, MOST_PROCESSES = 64, LINE = 512 };

typedef struct { char uuid[96], bus[32], name[96], state[16];
                 unsigned long long total, used; unsigned busy; int parent;
                 unsigned processes; unsigned pids[MOST_PROCESSES];
                 unsigned long long has[MOST_PROCESSES]; } Device;
typedef struct { char version[80]; int init; int count; Device devices[MOST]; } State;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu, compute; } Process;
typedef struct { char legacy[16]; unsigned domain, bus, device, pci, subsystem; char id[32]; } Pci;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned gpu, memory; } Rates;

static State state;

static void read_state(void) {
    FILE *file = fopen(getenv("ENVKIT_TEST_NVML") ? getenv("ENVKIT_TEST_NVML") : "", "r");
    char line[LINE], word[16];
    int gpu = -1;
    memset(&state, 0, sizeof state);
    while (file && fgets(line, sizeof line, file)) {
        Device *here = &state.devices[state.count];
        if (sscanf(line, "driver %79s %d", state.version, &state.init) >= 1) continue;
        if (sscanf(line, "%15s %95s %31s %95s %llu %llu %u %15s", word, here->uuid, here->bus,
                   here->name, &here->total, &here->used, &here->busy, here->state) == 8) {
            here->parent = strcmp(word, "mig") ? -1 : gpu;
            if (here->parent < 0) gpu = state.count;
            for (char *c = here->name; *c; c++) if (*c == '_') *c = ' ';
            state.count++;
        } else if (state.count) {
            Device *last = &state.devices[state.count - 1];
            unsigned n = last->processes;
            if (sscanf(line, "process %u %llu", &last->pids[n], &last->has[n]) == 2) last->processes++;
        }
    }
    if (file) fclose(file);
}

/* A device as a handle is its place in the file, counted from 1. */
static Device *device(void *handle) { read_state(); return &state.devices[(long)handle - 1]; }

static int find(int parent, unsigned number, void **handle) {
    read_state();
    for (int i = 0; i < state.count; i++)
        if (state.devices[i].parent == parent && number-- == 0) { *handle = (void *)(long)(i + 1); return SUCCESS; }
    return parent < 0 ? INVALID : NOT_FOUND;
}

static int answer(void *handle) { return strcmp(device(handle)->state, "lost") ? SUCCESS : IS_LOST; }

int nvmlInitWithFlags(unsigned flags) { (void)flags; read_state(); return state.init; }
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { return code == IS_LOST ? "GPU is lost" : "Unknown Error"; }

int nvmlSystemGetDriverVersion(char *text, unsigned size) {
    read_state(); snprintf(text, size, "%s", state.version); return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    read_state(); *count = 0;
    for (int i = 0; i < state.count; i++) *count += state.devices[i].parent < 0;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned number, void **handle) {
    int code = find(-1, number, handle);
    return code ? code : strcmp(device(*handle)->state, "gone") ? SUCCESS : IS_LOST;
}

int nvmlDeviceGetName(void *handle, char *text, unsigned size) {
    int code = answer(handle); snprintf(text, size, "%s", device(handle)->name); return code;
}

int nvmlDeviceGetUUID(void *handle, char *text, unsigned size) {
    int code = answer(handle); snprintf(text, size, "%s", device(handle)->uuid); return code;
}

int nvmlDeviceGetPciInfo_v3(void *handle, Pci *pci) {
    int code = answer(handle);
    memset(pci, 0, sizeof *pci); snprintf(pci->id, sizeof pci->id, "%s", device(handle)->bus);
    return code;
}

int nvmlDeviceGetMemoryInfo(void *handle, Memory *memory) {
    Device *one = device(handle);
    memory->total = one->total; memory->used = one->used; memory->free = one->total - one->used;
    return answer(handle);
}

int nvmlDeviceGetUtilizationRates(void *handle, Rates *rates) {
    Device *one = device(handle);
    rates->gpu = one->busy; rates->memory = 0;
    return one->parent < 0 ? answer(handle) : NOT_SUPPORTED;
}

int nvmlDeviceGetMigMode(void *handle, unsigned *current, unsigned *pending) {
    *current = *pending = !strcmp(device(handle)->state, "divided");
    return strcmp(device(handle)->state, "plain") ? answer(handle) : NOT_SUPPORTED;
}

int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned *count) { (void)handle; *count = 7; return SUCCESS; }

int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned number, void **instance) {
    return find((int)(long)handle - 1, number, instance);
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, Process *processes) {
    Device *one = device(handle);
    unsigned room = *count;
    if (!strcmp(one->state, "silent")) return NOT_SUPPORTED;
    *count = one->processes;
    if (room < one->processes) return TOO_SMALL;
    for (unsigned i = 0; i < one->processes; i++)
        processes[i] = (Process){one->pids[i], one->has[i], ~0u, ~0u};
    return answer(handle);
}
