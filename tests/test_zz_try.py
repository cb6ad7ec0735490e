import time
def test_a(machine):
    p = machine.project(); p.lock("alpha-1.0","forest-1.0")
    t=time.time(); r=p.install(); print(r, time.time()-t)
    t=time.time(); r=p.install(); print(r, time.time()-t)
    p.lock("alpha-1.1","forest-1.0")
    t=time.time(); r=p.install(); print(r, time.time()-t)
    print(p.installed(), machine.leftovers())
def test_b(fresh_machine):
    from tests.support import good
    m=fresh_machine
    m.index.add(good()["alpha-1.0"])
    p = m.project(); p.lock("alpha-1.0")
    t=time.time(); r=p.install(); print(r, time.time()-t)
