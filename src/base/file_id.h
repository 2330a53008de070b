/*
 * file_id - by which a file is known again: is this still the one that it was?
 *
 * Called by: config (compare), handlers, master/check.
 * Runs in:   any process.
 */
#ifndef PREFORKD_BASE_FILE_ID_H
#define PREFORKD_BASE_FILE_ID_H

#include <stdbool.h>
#include <sys/stat.h>

/* Of no file: all zero. */
struct file_id {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec written;
};

/* Marks a file as stat(2) or fstat(2) told of it. */
struct file_id file_id_of(const struct stat *file);

/* Another file, or the same one with something else written into it, has another mark. */
bool file_id_equal(const struct file_id *a, const struct file_id *b);

#endif
