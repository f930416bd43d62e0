"""Small apps that send with an SDK of their own, each started as a process."""
