"""What a project serves: started, watched and stopped, whatever kind it is of."""
