/* A layer between a process and its disk and clock, put there by LD_PRELOAD. All is told by the environment:
 *
 *   FAULT_BELOW   folder whose files are meant
 *   FAULT_MATCH   text that their path has to contain, else all below the folder
 *   FAULT_CALL    write, sync, open (for writing), rename or read: the calls that fail
 *   FAULT_ERROR   the number of the error they fail with
 *   FAULT_AFTER   what still goes well: bytes that files grow by for calls of write with ENOSPC, as on a disk with so much room; else calls
 *   FAULT_TIMES   how many calls fail then; 0: all
 *   FAULT_COUNTER a file that all processes count in
 *   FAULT_CLOCK   seconds that the clock is moved by
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct counter { int64_t used, failed; };

static struct counter *counter;
static char below[PATH_MAX], match[256], call[16];
static int64_t after;
static long error, times, shift;
static int by_growth;

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static long number(const char *name) {
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

__attribute__((constructor)) static void prepare(void) {
    const char *text;
    shift = number("FAULT_CLOCK");
    if (!(text = getenv("FAULT_BELOW"))) return;
    snprintf(below, sizeof below, "%s", text);
    snprintf(match, sizeof match, "%s", (text = getenv("FAULT_MATCH")) ? text : "");
    snprintf(call, sizeof call, "%s", (text = getenv("FAULT_CALL")) ? text : "");
    after = number("FAULT_AFTER"), error = number("FAULT_ERROR"), times = number("FAULT_TIMES");
    by_growth = !strcmp(call, "write") && error == ENOSPC;
    if (!(text = getenv("FAULT_COUNTER"))) return;
    int descriptor = open(text, O_RDWR | O_CREAT, 0600);
    if (descriptor < 0 || ftruncate(descriptor, sizeof *counter)) return;
    void *shared = mmap(NULL, sizeof *counter, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    counter = shared == MAP_FAILED ? NULL : shared;
    close(descriptor);
}

static int meant(const char *path) {
    char whole[2 * PATH_MAX];
    if (!counter || !path) return 0;
    if (path[0] != '/') {
        if (!getcwd(whole, PATH_MAX)) return 0;
        snprintf(whole + strlen(whole), PATH_MAX, "/%s", path);
        path = whole;
    }
    return !strncmp(path, below, strlen(below)) && strstr(path, match);
}

static int meant_open(int descriptor) {
    char link[64], path[PATH_MAX];
    if (!counter) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return meant(path);
}

/* Whether this call is one that fails; counts it where it is not. */
static int fails(const char *kind) {
    if (strcmp(call, kind) || by_growth) return 0;
    if (__atomic_fetch_add(&counter->used, 1, __ATOMIC_SEQ_CST) < after) return 0;
    if (__atomic_fetch_add(&counter->failed, 1, __ATOMIC_SEQ_CST) >= times && times) return 0;
    errno = (int)error;
    return 1;
}

/* How many of the bytes still find room; -1 where none do. */
static ssize_t room(int descriptor, size_t length, off_t offset) {
    struct stat status;
    if (!by_growth || fstat(descriptor, &status) || !S_ISREG(status.st_mode)) return (ssize_t)length;
    int64_t growth = (int64_t)offset + (int64_t)length - status.st_size;
    if (growth <= 0) return (ssize_t)length;
    int64_t used = __atomic_fetch_add(&counter->used, growth, __ATOMIC_SEQ_CST);
    if (used + growth <= after) return (ssize_t)length;
    __atomic_fetch_add(&counter->failed, 1, __ATOMIC_SEQ_CST);
    int64_t left = (int64_t)length - growth + (used < after ? after - used : 0);
    if (left > 0) return (ssize_t)left;
    errno = ENOSPC;
    return -1;
}

ssize_t write(int descriptor, const void *bytes, size_t length) {
    REAL(write);
    if (meant_open(descriptor)) {
        if (fails("write")) return -1;
        struct stat status;
        int flags = fcntl(descriptor, F_GETFL);
        off_t at = lseek(descriptor, 0, SEEK_CUR);
        if (flags >= 0 && flags & O_APPEND && !fstat(descriptor, &status)) at = status.st_size;
        ssize_t fits = at < 0 ? (ssize_t)length : room(descriptor, length, at);
        if (fits < 0) return -1;
        length = (size_t)fits;
    }
    return real(descriptor, bytes, length);
}

#define PWRITE(name, offset_type) \
    ssize_t name(int descriptor, const void *bytes, size_t length, offset_type offset) { \
        REAL(name); \
        if (meant_open(descriptor)) { \
            if (fails("write")) return -1; \
            ssize_t fits = room(descriptor, length, (off_t)offset); \
            if (fits < 0) return -1; \
            length = (size_t)fits; \
        } \
        return real(descriptor, bytes, length, offset); \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define PREAD(name, offset_type) \
    ssize_t name(int descriptor, void *bytes, size_t length, offset_type offset) { \
        REAL(name); \
        if (meant_open(descriptor) && fails("read")) return -1; \
        return real(descriptor, bytes, length, offset); \
    }
PREAD(pread, off_t)
PREAD(pread64, off64_t)

ssize_t read(int descriptor, void *bytes, size_t length) {
    REAL(read);
    if (meant_open(descriptor) && fails("read")) return -1;
    return real(descriptor, bytes, length);
}

#define SYNC(name) \
    int name(int descriptor) { \
        REAL(name); \
        if (meant_open(descriptor) && fails("sync")) return -1; \
        return real(descriptor); \
    }
SYNC(fsync)
SYNC(fdatasync)

#define ALLOCATE(name, offset_type) \
    int name(int descriptor, offset_type offset, offset_type length) { \
        REAL(name); \
        if (meant_open(descriptor) && room(descriptor, (size_t)length, (off_t)offset) < (ssize_t)length) return ENOSPC; \
        return real(descriptor, offset, length); \
    }
ALLOCATE(posix_fallocate, off_t)
ALLOCATE(posix_fallocate64, off64_t)

int fallocate(int descriptor, int mode, off_t offset, off_t length) {
    REAL(fallocate);
    if (meant_open(descriptor) && room(descriptor, (size_t)length, offset) < (ssize_t)length) {
        errno = ENOSPC;
        return -1;
    }
    return real(descriptor, mode, offset, length);
}

int rename(const char *from, const char *to) {
    REAL(rename);
    if (meant(to) && fails("rename")) return -1;
    return real(from, to);
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { \
            va_list rest; \
            va_start(rest, flags); \
            mode = va_arg(rest, mode_t); \
            va_end(rest); \
        } \
        if ((flags & O_ACCMODE) != O_RDONLY && meant(path) && fails("open")) return -1; \
        return real(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

int clock_gettime(clockid_t clock, struct timespec *moment) {
    REAL(clock_gettime);
    int answer = real(clock, moment);
    if (!answer && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) moment->tv_sec += shift;
    return answer;
}

int gettimeofday(struct timeval *moment, void *zone) {
    REAL(gettimeofday);
    int answer = real(moment, zone);
    if (!answer) moment->tv_sec += shift;
    return answer;
}

time_t time(time_t *moment) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (moment) *moment = now.tv_sec;
    return now.tv_sec;
}
