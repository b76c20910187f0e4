/* Stands between a process and the calls that change files: counts those below one folder, and fails the ones
   that it is told to. Loaded by LD_PRELOAD; faults.py arms it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static long count, at; static int mode; static char under[4096];

void fault_arm(const char *folder, long first, int how) {
    snprintf(under, sizeof under, "%s/", folder); at = first; mode = how; count = 0;
}
long fault_count(void) { return count; }

static int is_below(const char *path) { return under[0] && !strncmp(path, under, strlen(under)); }
static int is_ours(int fd) {
    char link[64], path[4096]; int kept = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1); errno = kept;
    if (n < 0) return 0;
    path[n] = 0; return is_below(path);
}
/* 0: go on; 1: report an error; 2: do half of it, then end. */
static int fault(void) {
    count++;
    if (!mode || count < at || (count > at && mode != 2)) return 0;
    if (mode == 3) kill(getpid(), SIGKILL);
    return mode == 4 ? 2 : 1;
}
#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define WRITER(name, parameters, whole, half) ssize_t name parameters { REAL(name); \
    if (is_ours(fd)) switch (fault()) { \
        case 1: errno = ENOSPC; return -1; case 2: half; kill(getpid(), SIGKILL); } \
    return whole; }
#define OTHER(name, parameters, condition, whole, code) int name parameters { REAL(name); \
    if (condition) switch (fault()) { \
        case 1: errno = code; return -1; case 2: whole; kill(getpid(), SIGKILL); } \
    return whole; }
WRITER(write, (int fd, const void *b, size_t n), real(fd, b, n), real(fd, b, n / 2))
WRITER(pwrite, (int fd, const void *b, size_t n, off_t o), real(fd, b, n, o), real(fd, b, n / 2, o))
WRITER(pwrite64, (int fd, const void *b, size_t n, off64_t o), real(fd, b, n, o), real(fd, b, n / 2, o))
OTHER(fsync, (int fd), is_ours(fd), real(fd), EIO)
OTHER(fdatasync, (int fd), is_ours(fd), real(fd), EIO)
OTHER(ftruncate, (int fd, off_t n), is_ours(fd), real(fd, n), EIO)
OTHER(ftruncate64, (int fd, off64_t n), is_ours(fd), real(fd, n), EIO)
OTHER(rename, (const char *a, const char *b), is_below(b), real(a, b), ENOSPC)
