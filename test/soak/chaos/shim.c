/*
 * Counts the file operations of a process below one folder, and at one of them kills the process, makes the operation
 * fail, or cuts a write short; or writes all of them, with their bytes, to a log.
 *
 * Not a file system: the kernel's own calls are made. Loaded by LD_PRELOAD; told what to do by variables:
 *   CHAOS_ROOT    the folder; without it nothing is counted
 *   CHAOS_LOG     file to append the operations to (see `record`)
 *   CHAOS_KILL    number of the operation; CHAOS_AFTER: SIGKILL once it is made, not before
 *   CHAOS_FAIL    number of the first operation that fails; CHAOS_TIMES: how many (1); CHAOS_ERRNO: with what
 *   CHAOS_ONLY    names of the operations that may fail, with commas; the others pass
 *   CHAOS_SHORT   number of the write that writes half of its bytes
 * Counted: open (that makes or empties a file), write, fsync, truncate, rename, link, unlink, mkdir, rmdir.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define MOST_FILES 4096
static char *paths[MOST_FILES]; /* what is open below the root, by file number */
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static const char *root, *only;
static long counted, kill_at, fail_at, fail_times = 1, short_at;
static int kill_after, fail_with = EIO, log_file = -1;

static long number(const char *name, long otherwise) {
  const char *text = getenv(name);
  return text == NULL || *text == 0 ? otherwise : atol(text);
}

__attribute__((constructor)) static void start(void) {
  root = getenv("CHAOS_ROOT");
  only = getenv("CHAOS_ONLY");
  kill_at = number("CHAOS_KILL", 0);
  kill_after = number("CHAOS_AFTER", 0);
  fail_at = number("CHAOS_FAIL", 0);
  fail_times = number("CHAOS_TIMES", 1);
  fail_with = number("CHAOS_ERRNO", EIO);
  short_at = number("CHAOS_SHORT", 0);
  const char *log = getenv("CHAOS_LOG");
  if (log != NULL) log_file = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

static int below(const char *path) { return root != NULL && path != NULL && strncmp(path, root, strlen(root)) == 0; }
static const char *path_of(int file) { return file >= 0 && file < MOST_FILES ? paths[file] : NULL; }

static void name_file(int file, const char *path) {
  if (file < 0 || file >= MOST_FILES) return;
  free(paths[file]);
  paths[file] = path == NULL ? NULL : strdup(path);
}

static void die(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

/* Whether a list with commas holds a name. */
static int holds(const char *list, const char *name) {
  size_t length = strlen(name);
  for (const char *at = list; (at = strstr(at, name)) != NULL; at += length)
    if ((at == list || at[-1] == ',') && (at[length] == 0 || at[length] == ',')) return 1;
  return 0;
}

/* Takes the turn and counts; 1 where the operation is to fail, which gives the turn back. */
static int begin(const char *name) {
  pthread_mutex_lock(&turn);
  long now = ++counted;
  if (now == kill_at && !kill_after) die();
  if (fail_at == 0 || now < fail_at || now >= fail_at + fail_times || (only != NULL && !holds(only, name))) return 0;
  pthread_mutex_unlock(&turn);
  errno = fail_with;
  return 1;
}

static void put(const void *bytes, size_t length) {
  for (const char *at = bytes; length > 0;) {
    long done = syscall(SYS_write, log_file, at, length);
    if (done <= 0) return;
    at += done;
    length -= done;
  }
}

/* "NAME OFFSET LENGTH-OF-PATH LENGTH-OF-OTHER LENGTH-OF-BYTES\n", then path, other and bytes. */
static void record(const char *name, long offset, const char *path, const char *other, const void *bytes, size_t length) {
  if (log_file < 0) return;
  char head[128];
  size_t a = strlen(path), b = other == NULL ? 0 : strlen(other);
  put(head, snprintf(head, sizeof head, "%s %ld %zu %zu %zu\n", name, offset, a, b, length));
  put(path, a);
  put(other, b);
  put(bytes, length);
}

static void end(void) {
  int kept = errno;
  if (counted == kill_at && kill_after) die();
  pthread_mutex_unlock(&turn);
  errno = kept;
}

#define NEXT(name) dlsym(RTLD_NEXT, #name)

static int opened(int (*next)(int, const char *, int, mode_t), int folder, const char *path, int flags, mode_t mode) {
  if (!below(path) || !(flags & (O_CREAT | O_TRUNC))) {
    int file = next(folder, path, flags, mode);
    name_file(file, below(path) ? path : NULL);
    return file;
  }
  if (begin("open")) return -1;
  int file = next(folder, path, flags, mode);
  name_file(file, path);
  if (file >= 0) record(flags & O_TRUNC ? "empty" : "open", 0, path, NULL, NULL, 0);
  end();
  return file;
}
static int open_at(int folder, const char *path, int flags, mode_t mode) {
  int (*next)(int, const char *, int, ...) = NEXT(openat64);
  return next(folder, path, flags, mode);
}
#define MODE va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest);
int open(const char *path, int flags, ...) { MODE return opened(open_at, AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE return opened(open_at, AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE return opened(open_at, folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE return opened(open_at, folder, path, flags, mode); }

int close(int file) {
  int (*next)(int) = NEXT(close);
  if (path_of(file) != NULL) name_file(file, NULL);
  return next(file);
}

static long place(int file) {
  struct stat at;
  if (!(fcntl(file, F_GETFL) & O_APPEND)) return lseek(file, 0, SEEK_CUR);
  return fstat(file, &at) == 0 ? at.st_size : 0;
}

/* All writes end here: as one piece, at an offset or (-1) where the file stands. */
static ssize_t written(int file, const void *bytes, size_t length, long offset) {
  if (begin("write")) return -1;
  if (counted == short_at && length > 1) length /= 2;
  long at = offset < 0 ? place(file) : offset;
  long done = offset < 0 ? syscall(SYS_write, file, bytes, length) : syscall(SYS_pwrite64, file, bytes, length, offset);
  if (done < 0) done = -1;
  else record("write", at, path_of(file), NULL, bytes, done);
  end();
  return done;
}
static ssize_t gathered(int file, const struct iovec *parts, int count, long offset) {
  size_t length = 0, at = 0;
  for (int i = 0; i < count; i++) length += parts[i].iov_len;
  char *bytes = malloc(length == 0 ? 1 : length);
  for (int i = 0; i < count; at += parts[i++].iov_len) memcpy(bytes + at, parts[i].iov_base, parts[i].iov_len);
  ssize_t done = written(file, bytes, length, offset);
  int kept = errno;
  free(bytes);
  errno = kept;
  return done;
}
#define OURS(name, type, ...) if (path_of(file) == NULL) { type = NEXT(name); return next(__VA_ARGS__); }
ssize_t write(int file, const void *bytes, size_t length) {
  OURS(write, ssize_t (*next)(int, const void *, size_t), file, bytes, length)
  return written(file, bytes, length, -1);
}
ssize_t pwrite(int file, const void *bytes, size_t length, off_t offset) {
  OURS(pwrite, ssize_t (*next)(int, const void *, size_t, off_t), file, bytes, length, offset)
  return written(file, bytes, length, offset);
}
ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t offset) { return pwrite(file, bytes, length, offset); }
ssize_t writev(int file, const struct iovec *parts, int count) {
  OURS(writev, ssize_t (*next)(int, const struct iovec *, int), file, parts, count)
  return gathered(file, parts, count, -1);
}
ssize_t pwritev(int file, const struct iovec *parts, int count, off_t offset) {
  OURS(pwritev, ssize_t (*next)(int, const struct iovec *, int, off_t), file, parts, count, offset)
  return gathered(file, parts, count, offset);
}
ssize_t pwritev64(int file, const struct iovec *parts, int count, off64_t offset) { return pwritev(file, parts, count, offset); }

static int synced(int file, int (*next)(int)) {
  if (path_of(file) == NULL) return next(file);
  if (begin("fsync")) return -1;
  int failed = next(file);
  if (!failed) record("fsync", 0, path_of(file), NULL, NULL, 0);
  end();
  return failed;
}
int fsync(int file) { return synced(file, NEXT(fsync)); }
int fdatasync(int file) { return synced(file, NEXT(fdatasync)); }

int ftruncate(int file, off_t length) {
  OURS(ftruncate, int (*next)(int, off_t), file, length)
  if (begin("truncate")) return -1;
  int failed = syscall(SYS_ftruncate, file, length) == 0 ? 0 : -1;
  if (!failed) record("truncate", length, path_of(file), NULL, NULL, 0);
  end();
  return failed;
}
int ftruncate64(int file, off64_t length) { return ftruncate(file, length); }

#define NAMED(name, kind, parameters, arguments, path, other)  \
  int name parameters {                                        \
    int(*next) parameters = NEXT(name);                        \
    if (!below(path) && !below(other)) return next arguments;  \
    if (begin(kind)) return -1;                                \
    int failed = next arguments;                               \
    if (!failed) record(kind, 0, path, other, NULL, 0);        \
    end();                                                     \
    return failed;                                             \
  }
NAMED(unlink, "unlink", (const char *path), (path), path, NULL)
NAMED(rmdir, "rmdir", (const char *path), (path), path, NULL)
NAMED(mkdir, "mkdir", (const char *path, mode_t mode), (path, mode), path, NULL)
NAMED(rename, "rename", (const char *path, const char *other), (path, other), path, other)
NAMED(link, "link", (const char *path, const char *other), (path, other), path, other)
