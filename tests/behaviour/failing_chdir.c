/*
 * failing_chdir - a preloaded library whose chdir() to $FAILING_CHDIR works once and then fails:
 * the check of a configuration passes, and no worker can start.
 *
 * Each call is in another process, so the size of a file, $FAILING_CHDIR_COUNT, counts them.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int times_before(void)
{
    struct stat file;
    const char *path = getenv("FAILING_CHDIR_COUNT");
    int fd = path ? open(path, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
    if (fd < 0 || fstat(fd, &file) != 0)
        abort();
    if (write(fd, "x", 1) != 1)
        abort();
    close(fd);
    return (int)file.st_size;
}

int chdir(const char *path)
{
    int (*real)(const char *);
    void *found = dlsym(RTLD_NEXT, "chdir");
    const char *failing = getenv("FAILING_CHDIR");
    memcpy(&real, &found, sizeof real);
    if (failing && strcmp(path, failing) == 0 && times_before() > 0) {
        errno = EIO;
        return -1;
    }
    return real(path);
}
