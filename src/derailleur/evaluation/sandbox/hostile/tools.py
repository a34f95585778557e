"""Programs for the shell, node and the JVM: the same ideas through other interpreters."""

from derailleur.evaluation.sandbox.hostile.case import ROOMY, Case, Language
from derailleur.evaluation.sandbox.job import End

Ends = tuple[End, ...]
_EXITED: Ends = (End.EXITED,)


def _shell(name: str, tries: str, program: str, seen: str = "", ends: Ends = _EXITED) -> Case:
    return Case(f"sh-{name}", tries, program, seen, ends, Language.SHELL)


def _script(name: str, tries: str, program: str, seen: str = "", ends: Ends = _EXITED) -> Case:
    return Case(f"node-{name}", tries, program, seen, ends, Language.JAVASCRIPT, ROOMY)


def _java(name: str, tries: str, body: str, seen: str = "", ends: Ends = _EXITED) -> Case:
    program = f"class Main {{ public static void main(String[] a) throws Exception {{\n{body}\n}} }}\n"
    return Case(f"java-{name}", tries, program, seen, ends, Language.JAVA, ROOMY)


CASES = (
    _shell(
        "fork-bomb",
        "the shell's fork bomb",
        "bomb() { bomb | bomb & }; bomb; sleep 600",
        ends=(End.TIMEOUT, End.EXITED),
    ),
    _shell(
        "nohup",
        "leaves a program behind with nohup and setsid",
        "nohup setsid sleep 600 >/dev/null 2>&1 </dev/null &\necho left",
        seen="left",
    ),
    _shell(
        "environment",
        "reads the environment of every process",
        "cat /proc/[0-9]*/environ | tr '\\0' '\\n'; echo looked",
        seen="looked",
    ),
    _shell(
        "shadow",
        "reads accounts and writes programs",
        "cat /etc/shadow && echo escaped; echo x > /usr/bin/derailleur-escaped && echo escaped; echo tried",
        seen="tried",
    ),
    _shell(
        "fill",
        "fills its folder with dd",
        "dd if=/dev/urandom of=taken bs=1M count=64 && echo escaped",
        seen="No space|too large|File size",
    ),
    _script("loop", "loops for ever", "for (;;);", ends=(End.TIMEOUT,)),
    _script(
        "memory",
        "takes memory in typed arrays",
        "const taken = []; for (let i = 0; i < 64; i++) taken.push(new Uint8Array(64 << 20).fill(1));\n"
        "console.log('escaped');",
        seen="RangeError|memory|^$",
        ends=(End.EXITED, End.MEMORY),
    ),
    _script(
        "network",
        "connects to the host",
        "const bait = JSON.parse(require('fs').readFileSync('bait.json'));\n"
        "require('net').connect(bait.tcp_port, '127.0.0.1', () => console.log('escaped'))\n"
        "  .on('error', error => console.log(error.code));",
        seen="EPERM|EACCES|ENETUNREACH|ECONNREFUSED",
    ),
    _script(
        "kill",
        "kills its parent and starts programs that outlive it",
        "const { spawn } = require('child_process');\n"
        "spawn('sleep', ['600'], { detached: true, stdio: 'ignore' }).unref();\n"
        "try { process.kill(process.ppid, 'SIGTERM'); } catch (error) { console.log(error.code); }\n"
        "console.log('left');",
        seen="left|^$",
    ),
    _java("loop", "loops for ever", "for (;;);", ends=(End.TIMEOUT,)),
    _java(
        "threads",
        "starts threads for ever",
        "for (int i = 0; i < 5000; i++) { Thread thread = new Thread(() -> {"
        " try { Thread.sleep(600000); } catch (InterruptedException e) {} });\n"
        "thread.setDaemon(true); thread.start(); }\n"
        'System.out.println("escaped");',
        seen="unable to create|OutOfMemory",
        ends=(End.EXITED, End.TIMEOUT, End.MEMORY),
    ),
    _java(
        "files",
        "reads and writes files of the host",
        'try { java.nio.file.Files.readAllBytes(java.nio.file.Path.of("/etc/shadow"));'
        ' System.out.println("escaped"); } catch (java.io.IOException e) { System.out.println(e); }\n'
        'try { java.nio.file.Files.writeString(java.nio.file.Path.of("/usr/derailleur-escaped"), "x");'
        ' System.out.println("escaped"); } catch (java.io.IOException e) { System.out.println(e); }',
        seen="NoSuchFile|AccessDenied|Read-only",
    ),
)
