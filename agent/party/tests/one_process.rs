//! A program is one process: what Python does with several says so, what it does with memory to share is
//! private and counts, and no way around the limits is left.

mod common;

use anyhow::{Result, ensure};
use common::{LIMIT, completes, demo, three};

/// Tries each way to start a process; writes what came of it.
const STARTS: &str = "
import asyncio, concurrent.futures, multiprocessing, os, subprocess
from mpyc.runtime import mpc

async def by_loop():
    await asyncio.create_subprocess_exec('true')

async def by_shell():
    await asyncio.create_subprocess_shell('true')

def by_pool():
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        pool.submit(abs, -1).result()

def by_method(method):
    multiprocessing.get_context(method).Process(target=print).start()

mpc.run(mpc.start())
for name, start in {
    'subprocess.run': lambda: subprocess.run(['true']),
    'subprocess shell': lambda: subprocess.check_output('true', shell=True),
    'os.fork': os.fork,
    'os.system': lambda: os.system('true'),
    'os.popen': lambda: os.popen('true'),
    'os.posix_spawn': lambda: os.posix_spawn('/bin/true', ['true'], {}),
    'os.spawnl': lambda: os.spawnl(os.P_WAIT, '/bin/true', 'true'),
    'asyncio exec': lambda: mpc.run(by_loop()),
    'asyncio shell': lambda: mpc.run(by_shell()),
    'Process fork': lambda: by_method('fork'),
    'Process spawn': lambda: by_method('spawn'),
    'Process forkserver': lambda: by_method('forkserver'),
    'multiprocessing.Pool': lambda: multiprocessing.Pool(1),
    'multiprocessing.Manager': multiprocessing.Manager,
    'ProcessPoolExecutor': by_pool,
}.items():
    try:
        start()
        told = 'started'
    except Exception as error:
        told = f'{type(error).__name__} {error}'
    print(f'{name}: {told}')
print('tried', flush=True)
mpc.run(mpc.shutdown())
";

#[test]
fn a_process_that_cannot_be_started_is_an_error_that_says_so() -> Result<()> {
    let network = three()?;
    network.declare(&demo(STARTS))?;
    for run in network.run("demo")? {
        run.wait_for_line("tried", LIMIT)?;
        let lines = lines(&run);
        ensure!(lines.len() == 16, "{lines:?}\n{}", run.said());
        for line in lines.iter().filter(|line| *line != "tried") {
            let said = "OSError [Errno 38] mpyc-party runs a program as one process";
            ensure!(line.contains(said) && line.contains("use threads"), "{line}");
        }
        completes(run)?;
    }
    Ok(network.end()?)
}

/// Works with what `multiprocessing` and `mmap` have for programs of one process too.
const SHARES: &str = "
import mmap, multiprocessing, multiprocessing.shared_memory, numpy
from mpyc.runtime import mpc

mpc.run(mpc.start())
memory = mmap.mmap(-1, 1 << 20)
memory[:4] = b'here'
print('mmap:', memory[:4], isinstance(memory, mmap.mmap), type(memory))
read = mmap.mmap(-1, 4096, access=mmap.ACCESS_READ)
try:
    read[:1] = b'x'
except TypeError as error:
    print('read-only:', error)
mmap.mmap(-1, 4096, access=mmap.ACCESS_WRITE)[:1] = b'x'
mmap.mmap(-1, 4096, access=mmap.ACCESS_COPY)[:1] = b'x'
mmap.mmap(-1, 4096, prot=mmap.PROT_READ)
with open('/tmp/file', 'wb+') as file:
    file.write(bytes(4096))
    file.flush()
    mmap.mmap(file.fileno(), 4096)[:4] = b'kept'
    file.seek(0)
    print('file:', file.read(4))
for method in ('fork', 'spawn', 'forkserver'):
    context = multiprocessing.get_context(method)
    with context.Lock():
        print(method, 'lock')
    value = context.Value('i', 7)
    print(method, 'value', value.value)
    held = context.Queue()
    held.put('sent')
    print(method, 'queue', held.get(timeout=20))
shared = multiprocessing.shared_memory.SharedMemory(create=True, size=4096, name='one')
shared.buf[:4] = b'here'
again = multiprocessing.shared_memory.SharedMemory('one')
print('shared:', bytes(again.buf[:4]))
print('shared array:', int(numpy.ndarray((4,), 'u1', shared.buf)[0]))
again.close()
shared.close()
shared.unlink()
print('worked', flush=True)
mpc.run(mpc.shutdown())
";

#[test]
fn memory_to_share_works_within_the_one_process() -> Result<()> {
    let network = three()?;
    network.declare(&demo(SHARES))?;
    for run in network.run("demo")? {
        run.wait_for_line("worked", LIMIT)?;
        let expected = [
            "mmap: b'here' True <class 'mmap.mmap'>",
            "read-only: mmap can't modify a readonly memory map.",
            "file: b'kept'",
            "fork lock",
            "fork value 7",
            "fork queue sent",
            "spawn lock",
            "spawn value 7",
            "spawn queue sent",
            "forkserver lock",
            "forkserver value 7",
            "forkserver queue sent",
            "shared: b'here'",
            "shared array: 104",
            "worked",
        ];
        ensure!(lines(&run) == expected, "{:?}\n{}", lines(&run), run.said());
        completes(run)?;
    }
    Ok(network.end()?)
}

/// Takes twice as much as it may, in each way that there is; writes how far it came, in MiB.
const EXCEEDS: &str = r"
import ctypes, mmap, os, threading
from mpyc.runtime import mpc

MEMORY, TMP = 512, 64
PIECE = bytes(1 << 20)
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]

def taken(take, most):
    held = []
    try:
        while len(held) < 2 * most:
            held.append(take())
    except (OSError, MemoryError, RuntimeError):
        pass
    return len(held)

def heap():
    return bytearray(PIECE)

def mapped():
    memory = mmap.mmap(-1, len(PIECE))
    memory[:] = PIECE
    return memory

def shared():
    memory = libc.mmap(None, len(PIECE), 3, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS, -1, 0)
    if memory == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), '')

def unnamed():
    descriptor = os.memfd_create('x')
    os.write(descriptor, PIECE)
    return descriptor

def file(directory):
    def take():
        path = f'{directory}/{len(os.listdir(directory))}'
        with open(path, 'wb') as file:
            file.write(PIECE)
    return take

def by_threads():
    held = []
    def hold():
        try:
            for _ in range(MEMORY // 4):
                held.append(heap())
        except MemoryError:
            pass
    threads = []
    for _ in range(8):
        try:
            threads.append(threading.Thread(target=hold))
            threads[-1].start()
        except RuntimeError:  # no room for its stack
            threads.pop()
    for thread in threads:
        thread.join()
    return len(held)

mpc.run(mpc.start())
if mpc.pid == 0:
    print('heap', taken(heap, MEMORY))
    print('mmap', taken(mapped, MEMORY))
    print('shared', taken(shared, MEMORY))
    print('memfd', taken(unnamed, MEMORY))
    print('threads', by_threads())
    print('shm', taken(file('/dev/shm'), TMP))
    print('tmp', taken(file('/tmp'), TMP))
print('tried', flush=True)
mpc.run(mpc.shutdown())
";

#[test]
fn no_way_to_take_memory_goes_past_its_limits() -> Result<()> {
    let network = three()?;
    network.declare(&demo(EXCEEDS).set("memory", "512"))?;
    let mut runs = network.run("demo")?.into_iter();
    if let Some(alice) = runs.next() {
        alice.wait_for_line("tried", LIMIT)?;
        let found = lines(&alice);
        let at = |name: &str| {
            let line = found.iter().find_map(|line| line.strip_prefix(&format!("{name} ")));
            line.and_then(|text| text.parse::<u32>().ok())
        };
        for (name, least, most) in [
            ("heap", 200, 512),
            ("mmap", 200, 512),
            ("shared", 0, 0),
            ("memfd", 0, 0),
            ("threads", 128, 512),
            ("shm", 60, 64),
            ("tmp", 0, 0),
        ] {
            ensure!(at(name).is_some_and(|it| (least..=most).contains(&it)), "{name}: {found:?}");
        }
        completes(alice)?;
    }
    runs.try_for_each(completes)?;
    Ok(network.end()?)
}

/// What the program has written so far, line by line, without what MPyC logs.
fn lines(run: &mpyc_party_lab::party::Run) -> Vec<String> {
    let line = |event: &serde_json::Value| event["line"].as_str().map(str::to_owned);
    let lines = run.events().into_iter().filter_map(|(_, event)| line(&event));
    lines.filter(|line| !line.contains("MPyC ") && !line.contains(" parties connected")).collect()
}
