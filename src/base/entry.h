/*
 * entry - a name in a directory in which others may write too; and by what a file is known again.
 *
 * Between two looks at a name somebody may have exchanged what it leads to. So a caller that acts
 * on a file that it made holds the directory by a descriptor, holds the file by another, and
 * compares that with the inode that it knows: from there on no name is asked any more.
 */
#ifndef PREFORKD_BASE_ENTRY_H
#define PREFORKD_BASE_ENTRY_H

#include <stdbool.h>
#include <sys/stat.h>

/* By which a file is known for as long as a process keeps it open: its number is given to no other
 * until then. A bound socket keeps the inode of its path so. */
struct inode {
    dev_t device;
    ino_t number; /* 0: none */
};

struct inode inode_of(const struct stat *file);
struct inode inode_of_fd(int fd);                               /* of a bad descriptor: none */
bool inode_equal(const struct inode *a, const struct inode *b); /* two that are none are not */

struct entry {
    int directory;    /* held by O_PATH; -1: none */
    const char *name; /* the last component of the path, which is the caller's */
};

/* The last component of a path. */
const char *entry_name(const char *path);

/* Looks at the directory that a path lies in, through whatever links lead there. 0 or -errno. */
int entry_directory(const char *path, struct inode *directory);

/* Whether two paths in these directories are the same name. */
bool entry_same(const char *a, const struct inode *a_directory, const char *b,
                const struct inode *b_directory);

/* Makes a directory that has just this mode from the first on, not the umask's. 0 or -errno. */
int entry_make_directory(const char *path, mode_t mode);

/* The directory of a path, held. 0 or -errno. */
int entry_open(struct entry *entry, const char *path);

/* For locals: `__attribute__((cleanup(entry_close)))`, {.directory = -1} at first. */
void entry_close(struct entry *entry);

/* What the name leads to, held by a descriptor that can be asked and changed, but not read or
 * written (O_PATH): not followed if it is a link. The descriptor or -errno. */
int entry_hold(const struct entry *entry, struct stat *found);

/* The name of what such a descriptor holds, for calls that take nothing but a name: it leads to
 * that very inode, whatever happens to the names of before. */
enum { ENTRY_HELD = 32 };
const char *entry_held(char name[static ENTRY_HELD], int held);

/* Whether the name leads to this inode. */
bool entry_is(const struct entry *entry, const struct inode *inode);

/* Unlinks the name if it leads to this inode: true. Between the look and the act another user may
 * exchange it, for no call unlinks by descriptor: but only a user that may write in this directory,
 * and could have unlinked what is lost then. In a directory with the sticky bit no other user can
 * unlink or rename what belongs to us or to a third one. */
bool entry_unlink(const struct entry *entry, const struct inode *inode);

/* Of no file: all zero. */
struct file_id {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec written;
};

/* The id of a file that was asked about by stat(2) or fstat(2). */
struct file_id file_id_of(const struct stat *file);

/* Another file, or the same one with other content, has another id. */
bool file_id_equal(const struct file_id *a, const struct file_id *b);

#endif
