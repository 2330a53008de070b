/*
 * entry - a name in a directory that others may write to, and the identity of a file.
 *
 * What a name leads to may be replaced between two looks at it. So a caller that acts on a file
 * that it made holds the directory by one descriptor and the file by another, and compares the file
 * with the inode that it remembers. After that it uses no name any more.
 */
#ifndef PREFORKD_BASE_ENTRY_H
#define PREFORKD_BASE_ENTRY_H

#include <stdbool.h>
#include <sys/stat.h>

/* Identifies a file while some process keeps it open: until then no other file gets its number. A
 * bound socket keeps the inode of its path open in this sense. */
struct inode {
    dev_t device;
    ino_t number; /* 0: none */
};

struct inode inode_of(const struct stat *file);
struct inode inode_of_fd(int fd);                               /* none for a bad descriptor */
bool inode_equal(const struct inode *a, const struct inode *b); /* false for none and none */

struct entry {
    int directory;    /* opened by O_PATH; -1: none */
    const char *name; /* the last component of the caller's path */
};

/* The last component of a path. */
const char *entry_name(const char *path);

/* The inode of the directory that a path lies in, links followed. 0 or -errno. */
int entry_directory(const char *path, struct inode *directory);

/* Whether two paths in these directories are the same name. */
bool entry_same(const char *a, const struct inode *a_directory, const char *b,
                const struct inode *b_directory);

/* Makes a directory with exactly this mode from the start, whatever the umask. 0 or -errno. */
int entry_make_directory(const char *path, mode_t mode);

/* Opens the directory of a path. 0 or -errno. */
int entry_open(struct entry *entry, const char *path);

/* For locals: `__attribute__((cleanup(entry_close)))`, initialised to {.directory = -1}. */
void entry_close(struct entry *entry);

/* Opens what the name leads to by O_PATH, without following a link: the descriptor can be used for
 * fstat(2) and, by entry_held, to change the file, but not to read or write it. The descriptor or
 * -errno. */
int entry_hold(const struct entry *entry, struct stat *found);

/* A path for what such a descriptor holds, for calls that take only a path. It leads to that very
 * inode, whatever happens to the file's names. */
enum { ENTRY_HELD = 32 };
const char *entry_held(char name[static ENTRY_HELD], int held);

/* Whether the name leads to this inode. */
bool entry_is(const struct entry *entry, const struct inode *inode);

/* Unlinks the name if it leads to this inode; true if it did. No call unlinks by descriptor, so
 * another user may replace the name between the check and the unlink. But that user must be able to
 * write to this directory, and so could have unlinked the lost file anyway. In a directory with the
 * sticky bit, no other user can unlink or rename what belongs to us or to a third user. */
bool entry_unlink(const struct entry *entry, const struct inode *inode);

/* Identifies a file with its content. All zero: no file. */
struct file_id {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec written;
};

/* The id of a file, from its stat(2). */
struct file_id file_id_of(const struct stat *file);

/* False for another file, or for the same file with other content. */
bool file_id_equal(const struct file_id *a, const struct file_id *b);

#endif
