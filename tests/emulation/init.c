// SPDX-License-Identifier: Apache-2.0
// The first process of the emulated machine that run_avx512.sh starts: it runs one program, hands its
// output and exit code to the host and switches the machine off. It is not part of the library.
//
// What the host put into the machine: /.run_avx512/{argv,env} (strings, each ended by NUL; argv[0] is the
// program) and /.run_avx512/cwd (one such string).
// What goes back: standard output and error byte by byte through the two parallel ports, which the
// emulator writes to files without any modelled delay (a serial port has one for every byte); started and
// exited as lines "run_avx512: ..." on the first serial port, which is the kernel's console too.

#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { stdout_port = 0x378, stderr_port = 0x278, power_port = 0x8900 };
enum { max_strings = 1024, no_exec = 127 };

static int console = -1;

static void to_port(const char* bytes, ssize_t count, unsigned short port) {
    for (ssize_t i = 0; i < count; ++i) {
        outb((unsigned char)bytes[i], port);
        outb(0x0d, (unsigned short)(port + 2));  // selected, strobe up: the emulator takes the byte
        outb(0x0c, (unsigned short)(port + 2));
    }
}

static void to_stderr_port(const char* text) { to_port(text, (ssize_t)strlen(text), stderr_port); }

static void to_console(const char* text) {
    if (write(console, text, strlen(text)) > 0) tcdrain(console);
}

static void power_off(int code) {
    char line[64];
    snprintf(line, sizeof line, "\nrun_avx512: exit %d\n", code);
    to_console(line);
    for (const char* c = "Shutdown"; *c; ++c)  // the emulator's own switch: no ACPI needed
        outb((unsigned char)*c, power_port);
    for (;;) pause();
}

// The file's strings, or an empty list where there is no such file.
static char** read_strings(const char* path) {
    static char* none[1];
    FILE* file = fopen(path, "rb");
    struct stat status;
    if (!file || fstat(fileno(file), &status) != 0) return none;
    char* text = calloc(1, (size_t)status.st_size + 1);
    char** strings = calloc(max_strings + 1, sizeof *strings);
    if (!text || !strings) return none;
    size_t size = fread(text, 1, (size_t)status.st_size, file);
    fclose(file);
    size_t n = 0;
    for (size_t at = 0; at < size && n < max_strings; at += strlen(text + at) + 1) strings[n++] = text + at;
    return strings;
}

static void run_program(char** argv, int out, int err) {
    setenv("PATH", "/usr/local/bin:/usr/bin:/bin", 1);
    setenv("HOME", "/tmp", 1);
    setenv("TERM", "dumb", 1);
    for (char** variable = read_strings("/.run_avx512/env"); *variable; ++variable) putenv(*variable);
    char** cwd = read_strings("/.run_avx512/cwd");
    int null = open("/dev/null", O_RDONLY);
    dup2(null, 0);
    dup2(out, 1);
    dup2(err, 2);
    ioperm(0, 0x400, 0);  // the program must not inherit the ports
    iopl(0);
    if (*cwd && chdir(*cwd) != 0)
        fprintf(stderr, "run_avx512: no directory %s in the emulated machine\n", *cwd);
    else if (execv(argv[0], argv) != 0)
        fprintf(stderr, "run_avx512: cannot run %s: %s\n", argv[0], strerror(errno));
    _exit(no_exec);
}

// Passes on what can be read now; false at the end of the stream.
static int forward(int from, unsigned short port) {
    static char buffer[1 << 16];
    ssize_t count = read(from, buffer, sizeof buffer);
    if (count > 0) to_port(buffer, count, port);
    return count > 0 || (count < 0 && (errno == EAGAIN || errno == EINTR));
}

int main(void) {
    mkdir("/dev", 0755);
    mkdir("/proc", 0755);
    mkdir("/sys", 0755);
    mkdir("/tmp", 01777);
    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("sysfs", "/sys", "sysfs", 0, NULL);
    console = open("/dev/ttyS0", O_WRONLY | O_NOCTTY);
    if (iopl(3) != 0) {  // power_off() needs it too
        to_console("run_avx512: no access to the ports\n");
        return 1;
    }
    outb(0x0c, stdout_port + 2);
    outb(0x0c, stderr_port + 2);
    to_console("\nrun_avx512: started\n");

    char** argv = read_strings("/.run_avx512/argv");
    int out[2];
    int err[2];
    if (!argv[0] || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) {
        to_stderr_port("run_avx512: nothing to run, or no pipe\n");
        power_off(no_exec);
    }
    pid_t program = fork();
    if (program == 0) run_program(argv, out[1], err[1]);
    close(out[1]);
    close(err[1]);
    fcntl(out[0], F_SETFL, O_NONBLOCK);
    fcntl(err[0], F_SETFL, O_NONBLOCK);

    struct pollfd streams[2] = {{out[0], POLLIN, 0}, {err[0], POLLIN, 0}};
    const unsigned short ports[2] = {stdout_port, stderr_port};
    int status = 0;
    for (int ended = program < 0; !ended;) {
        // Asked before reading: what the program wrote before it ended is then read below.
        poll(streams, 2, 50);
        for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
            if (pid == program) {
                ended = 1;
                break;
            }
        for (int i = 0; i < 2; ++i)
            if (streams[i].fd >= 0 && !forward(streams[i].fd, ports[i])) streams[i].fd = -1;
    }
    // At most what fits into a pipe is left (64 KiB); a child that outlives the program is not waited for.
    for (int i = 0; i < 2; ++i)
        if (streams[i].fd >= 0) forward(streams[i].fd, ports[i]);

    if (program < 0) {
        to_stderr_port("run_avx512: no process\n");
        power_off(no_exec);
    }
    if (WIFSIGNALED(status)) {
        char line[128];
        snprintf(line, sizeof line, "run_avx512: ended by signal %d (%s)\n", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
        to_stderr_port(line);
        power_off(128 + WTERMSIG(status));
    }
    power_off(WEXITSTATUS(status));
}
