"""Runs mtracer top in a terminal of 40 lines, presses keys, and prints the last screen after each: top.py KEYS COMMAND..."""
import os, pty, select, struct, sys, fcntl, termios, time

def screen(master, wanted):
    """All that comes until `wanted` was seen and it is quiet, at most 20 seconds."""
    text, end = "", time.time() + 20
    while time.time() < end:
        ready = select.select([master], [], [], 0.3)[0]
        if not ready and wanted in text.split("\x1b[2J")[-1]:
            break
        if ready:
            try:
                data = os.read(master, 65536)
            except OSError:
                data = b""
            if not data:
                break
            text += data.decode(errors="replace")
    return text

pid, master = pty.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])
fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
print(screen(master, "own memory").split("\x1b[2J")[-1])
for keys in sys.argv[1].split(","):
    os.write(master, keys.replace("\\n", "\n").encode())
    print("=== " + keys)
    print(screen(master, "own memory" if keys != "q" else "\x1b[?1049l").split("\x1b[2J")[-1])
print("status", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
