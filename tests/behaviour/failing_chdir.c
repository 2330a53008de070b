/*
 * failing_chdir - a preload under which chdir() to $FAILING_CHDIR works the first time and fails
 * ever after: so that the check of a configuration passes, and no worker can start.
 *
 * The times are counted by the size of a file, $FAILING_CHDIR_COUNT, since each is another process.
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
