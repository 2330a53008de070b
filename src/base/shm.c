#include "shm.h"

#include "entry.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int shm_create(const char *name, size_t size)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)size) == 0 && fchmod(fd, S_IRUSR) == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0)
        return fd;
    int error = -errno;
    close(fd);
    return error;
}

void *shm_map(int fd, size_t size, bool writable)
{
    struct stat file;
    if (fstat(fd, &file) != 0)
        return NULL;
    int seals = fcntl(fd, F_GET_SEALS); /* -1: of no memory that can have one */
    if (file.st_size != (off_t)size || seals < 0 || !(seals & F_SEAL_SHRINK)) {
        errno = EPROTO;
        return NULL;
    }
    void *memory = mmap(NULL, size, PROT_READ | (writable ? PROT_WRITE : 0),
                        MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (memory == MAP_FAILED)
        return NULL;
    if (madvise(memory, size, MADV_DONTFORK) == 0)
        return memory;
    int error = errno;
    munmap(memory, size);
    errno = error;
    return NULL;
}

void shm_lend(void *memory, size_t size, bool lent)
{
    madvise(memory, size, lent ? MADV_DOFORK : MADV_DONTFORK);
}

int shm_reader(int fd)
{
    char name[ENTRY_HELD];
    int reader = open(entry_held(name, fd), O_RDONLY | O_CLOEXEC);
    return reader < 0 ? -errno : reader;
}

int shm_seal(int fd)
{
    return fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) == 0 ? 0 : -errno;
}
