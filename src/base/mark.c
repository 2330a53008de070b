#include "mark.h"

struct mark mark_of(const struct stat *file)
{
    return (struct mark){
        .device = file->st_dev,
        .inode = file->st_ino,
        .size = file->st_size,
        .written = file->st_mtim,
    };
}

bool mark_equal(const struct mark *a, const struct mark *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->written.tv_sec == b->written.tv_sec && a->written.tv_nsec == b->written.tv_nsec;
}
