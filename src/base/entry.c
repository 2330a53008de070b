#include "entry.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct inode inode_of(const struct stat *file)
{
    return (struct inode){.device = file->st_dev, .number = file->st_ino};
}

struct inode inode_of_fd(int fd)
{
    struct stat file;
    return fstat(fd, &file) == 0 ? inode_of(&file) : (struct inode){0};
}

bool inode_equal(const struct inode *a, const struct inode *b)
{
    return a->number && a->number == b->number && a->device == b->device;
}

const char *entry_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The directory keeps its final slash, so that a link is followed, and "/" stays "/". */
static int directory_of(const char *path, char directory[static PATH_MAX])
{
    size_t length = (size_t)(entry_name(path) - path);
    if (length >= PATH_MAX)
        return -ENAMETOOLONG;
    memcpy(directory, path, length);
    memcpy(directory + length, length ? "" : ".", length ? 1 : 2);
    return 0;
}

int entry_directory(const char *path, struct inode *directory)
{
    char name[PATH_MAX];
    struct stat found;
    int error = directory_of(path, name);
    if (error == 0 && stat(name, &found) != 0)
        error = -errno;
    if (error == 0)
        *directory = inode_of(&found);
    return error;
}

bool entry_same(const char *a, const struct inode *a_directory, const char *b,
                const struct inode *b_directory)
{
    return inode_equal(a_directory, b_directory) && strcmp(entry_name(a), entry_name(b)) == 0;
}

int entry_make_directory(const char *path, mode_t mode)
{
    mode_t mask = umask(0);
    int error = mkdir(path, mode) == 0 ? 0 : -errno;
    umask(mask);
    return error;
}

int entry_open(struct entry *entry, const char *path)
{
    char directory[PATH_MAX];
    int error = directory_of(path, directory);
    if (error)
        return error;
    int fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    *entry = (struct entry){.directory = fd, .name = entry_name(path)};
    return 0;
}

void entry_close(struct entry *entry)
{
    if (entry->directory >= 0)
        close(entry->directory);
    entry->directory = -1;
}

int entry_hold(const struct entry *entry, struct stat *found)
{
    int fd = openat(entry->directory, entry->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (fstat(fd, found) == 0)
        return fd;
    int error = -errno;
    close(fd);
    return error;
}

const char *entry_held(char name[static ENTRY_HELD], int held)
{
    snprintf(name, ENTRY_HELD, "/proc/self/fd/%d", held);
    return name;
}

bool entry_is(const struct entry *entry, const struct inode *inode)
{
    struct stat there;
    if (fstatat(entry->directory, entry->name, &there, AT_SYMLINK_NOFOLLOW) != 0)
        return false;
    struct inode found = inode_of(&there);
    return inode_equal(&found, inode);
}

bool entry_unlink(const struct entry *entry, const struct inode *inode)
{
    return entry_is(entry, inode) && unlinkat(entry->directory, entry->name, 0) == 0;
}

struct file_id file_id_of(const struct stat *file)
{
    return (struct file_id){
        .device = file->st_dev,
        .inode = file->st_ino,
        .size = file->st_size,
        .written = file->st_mtim,
    };
}

bool file_id_equal(const struct file_id *a, const struct file_id *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->written.tv_sec == b->written.tv_sec && a->written.tv_nsec == b->written.tv_nsec;
}
