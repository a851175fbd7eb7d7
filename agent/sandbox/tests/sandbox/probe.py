"""Tries every way out of the sandbox and prints what came of each, as one JSON object.

An attempt that fails is told by the name of its errno, one that succeeds as "allowed"; the test
knows which of the two, and which errno, it expects from the layer that is to stop the attempt.
"""

import ctypes
import errno
import json
import mmap
import os
import resource
import signal
import socket
import sys
import threading

libc = ctypes.CDLL(None, use_errno=True)
given = json.loads(sys.argv[1])
outcome = {}


def attempt(name, call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        outcome[name] = errno.errorcode.get(error.errno, str(error))
    except MemoryError:
        outcome[name] = "MemoryError"
    else:
        outcome[name] = "allowed"


def system_call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(each) for each in arguments))
    if result == -1:
        raise OSError(ctypes.get_errno(), "")
    return result


def create(path):
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT))


def read(path):
    with open(path, "rb") as file:
        file.read(1)


def fork():
    if os.fork() == 0:
        os._exit(0)


def clone(flags):
    if system_call(given["calls"]["clone"], flags | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        os._exit(0)


def map_memory(flags, protection=mmap.PROT_READ, descriptor=-1):
    mapping = libc.mmap
    mapping.restype = ctypes.c_long
    mapping.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
    if mapping(None, 4096, protection, flags, descriptor, 0) == -1:
        raise OSError(ctypes.get_errno(), "")


def execute_from_tmp():
    with open("/tmp/code", "wb+") as file:
        file.write(bytes(4096))
        file.flush()
        map_memory(mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC, file.fileno())


def descriptors():
    found = []
    for number in range(resource.getrlimit(resource.RLIMIT_NOFILE)[0]):
        try:
            os.fstat(number)
        except OSError:
            continue
        found.append(number)
    return found


def capabilities():
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    system_call(given["calls"]["capget"], ctypes.addressof(header), ctypes.addressof(sets))
    bounding = [bit for bit in range(64) if libc.prctl(23, bit, 0, 0, 0) == 1]
    return list(sets) + bounding


def ignored_signals():
    return [each.name for each in signal.valid_signals()
            if signal.getsignal(each) == signal.SIG_IGN and each not in (signal.SIGPIPE, signal.SIGXFSZ)]


def flags(path):
    names = {"rdonly": os.ST_RDONLY, "nosuid": os.ST_NOSUID, "nodev": os.ST_NODEV,
             "noexec": os.ST_NOEXEC}
    present = os.statvfs(path).f_flag
    return " ".join(name for name, flag in names.items() if present & flag)


def domain_name():
    """The last of the six texts that uname(2) gives."""
    texts = ctypes.create_string_buffer(6 * 65)
    libc.uname(texts)
    return texts.raw[5 * 65:].partition(b"\0")[0].decode()


def copy(path):
    """What a copied file, and the directory that it is in, tell of it."""
    with open(path) as file:
        content = file.read()
    found = [os.stat(path), os.stat(os.path.dirname(path))]
    return {"content": content, "beside": os.listdir(os.path.dirname(path)),
            "times": sorted({time for each in found for time in (each.st_atime, each.st_mtime)}),
            "owners": sorted({number for each in found for number in (each.st_uid, each.st_gid)}),
            "modes": [oct(each.st_mode) for each in found], "flags": flags(path)}


def threads():
    """How many run at once, the first included."""
    done = threading.Event()
    running = [threading.current_thread()]
    # Twice what AArch64 asks for at least (PTHREAD_STACK_MIN).
    threading.stack_size(1 << 18)
    try:
        while len(running) < 64:
            thread = threading.Thread(target=done.wait)
            thread.start()
            running.append(thread)
    except RuntimeError:
        pass
    done.set()
    return len(running)


def grow(path, size):
    with open(path, "wb") as file:
        for _ in range(size >> 16):
            file.write(bytes(1 << 16))


def fill_tmp():
    for number in range(64):
        grow(f"/tmp/{number}", 1 << 20)


def filled():
    """The size of all files in the directories that are to be one file system."""
    paths = [entry.path for top in ("/tmp", "/dev/shm") for entry in os.scandir(top)]
    return sum(os.stat(path).st_size for path in paths)


def map_shared_file():
    with open("/dev/shm/mapped", "wb+") as file:
        file.write(bytes(4096))
        file.flush()
        mmap.mmap(file.fileno(), 4096).close()
    os.unlink("/dev/shm/mapped")


def open_many():
    keep = []
    try:
        for _ in range(5000):
            keep.append(os.dup(0))
    finally:
        for each in keep:
            os.close(each)


outcome["descriptors"] = descriptors()
outcome["environment"] = dict(os.environ)
outcome["control"] = socket.socket(fileno=os.dup(3)).type.name
outcome["capabilities"] = sum(capabilities())
outcome["no_new_privs"] = libc.prctl(39, 0, 0, 0, 0)
outcome["securebits"] = libc.prctl(27, 0, 0, 0, 0)
outcome["is_root"] = 0 in os.getresuid() + os.getresgid()
outcome["host_name"] = os.uname().nodename
outcome["domain_name"] = domain_name()
outcome["ids"] = sorted({*os.getresuid(), *os.getresgid()})
outcome["copy"] = copy("/copy/data")
outcome["leads_session"] = os.getsid(0) == os.getpid()
outcome["working_directory"] = os.getcwd()
outcome["ignored_signals"] = ignored_signals()
outcome["blocked_signals"] = len(signal.pthread_sigmask(signal.SIG_BLOCK, []))
outcome["core_limit"] = resource.getrlimit(resource.RLIMIT_CORE)

for name, number in given["calls"].items():
    if name not in given["tools"]:
        attempt("call " + name, system_call, number, 0, 0, 0, 0, 0, 0)
for family in ("AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "AF_PACKET", "AF_VSOCK", "AF_ALG"):
    attempt("socket " + family, socket.socket, getattr(socket, family), socket.SOCK_DGRAM)
attempt("socketpair stream", socket.socketpair, socket.AF_UNIX, socket.SOCK_STREAM)
attempt("socketpair datagram", socket.socketpair, socket.AF_UNIX, socket.SOCK_DGRAM)
attempt("socket filter", socket.socketpair()[0].setsockopt, socket.SOL_SOCKET, 26, bytes(16))
attempt("fork", fork)
for name, flag in given["namespaces"].items():
    attempt("clone " + name, clone, flag)
for target in (0, 1, -1, os.getppid()):
    attempt(f"kill {target}", os.kill, target, 0)
attempt("kill self", os.kill, os.getpid(), 0)
attempt("limits of others", resource.prlimit, 1, resource.RLIMIT_NOFILE)
attempt("send signals of a descriptor", system_call, given["calls"]["fcntl"], 0, 8, 1)
attempt("type on a terminal", system_call, given["calls"]["ioctl"], 0, 0x5412, 0)
attempt("shared memory", map_memory, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
attempt("growing stack", map_memory, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x100)
attempt("shared file", map_shared_file)
attempt("private memory", map_memory, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
attempt("execute from /tmp", execute_from_tmp)

attempt("read key", read, given["key"])
for path in given["read"]:
    attempt("read " + path, read, path)
for path in given["list"]:
    attempt("list " + path, os.listdir, path)
for path in given["create"]:
    attempt("create " + path, create, path)
for path in given["chmod"]:
    attempt("chmod " + path, os.chmod, path, 0o777)
for path in given["flags"]:
    outcome["flags " + path] = flags(path)

if given["exhaust"]:
    attempt("memory", bytearray, 1 << 30)
    attempt("file size", grow, "/tmp/large", 4 << 20)
    os.unlink("/tmp/large")
    grow("/dev/shm/first", 1 << 20)
    attempt("room in /tmp", fill_tmp)
    attempt("room in /dev/shm", grow, "/dev/shm/more", 1 << 20)
    outcome["filled"] = filled()
    attempt("open files", open_many)
    outcome["threads"] = threads()

json.dump(outcome, sys.stdout)
