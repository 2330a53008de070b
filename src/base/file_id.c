#include "file_id.h"

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
