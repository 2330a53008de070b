#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct reading {
    struct arena *arena;
    struct faults *faults;
    struct source **last;
    int files;
    size_t bytes;
    char *text; /* room for the largest file */
    bool whole;
};

/* A file that is being read, with those whose includes led to it, and the statement that did. */
struct chain {
    const struct chain *outer; /* NULL of the file that the user named */
    const char *file;
    const struct statement *include;
    dev_t device;
    ino_t inode;
    int depth;
};

/* Faults of a file as a whole belong to the line that includes it. */
static void fault(struct reading *reading, const struct chain *link, const char *what,
                  const char *why)
{
    reading->whole = false;
    if (link->outer)
        faults_add(reading->faults, link->outer->file, link->include->line, "include: %s %s%s",
                   link->file, what, why);
    else
        faults_add(reading->faults, link->file, 0, "the file %s%s", what, why);
}

static bool in_chain(const struct chain *link)
{
    for (const struct chain *outer = link->outer; outer; outer = outer->outer)
        if (outer->device == link->device && outer->inode == link->inode)
            return true;
    return false;
}

/* Whether the open file may be read. */
static bool is_fit(struct reading *reading, struct chain *link, int fd)
{
    struct stat stat;
    if (fstat(fd, &stat) < 0) {
        fault(reading, link, "cannot be read: ", strerror(errno));
        return false;
    }
    link->device = stat.st_dev;
    link->inode = stat.st_ino;
    if (!S_ISREG(stat.st_mode))
        fault(reading, link, "is no regular file", "");
    else if (in_chain(link))
        fault(reading, link, "includes itself", "");
    else
        return true;
    return false;
}

/* Reads up to one byte more than a file may have. The size, or -1 with errno set. */
static ssize_t read_whole(int fd, char *text)
{
    size_t size = 0;
    while (size <= SOURCE_SIZE_MAX) {
        ssize_t got = read(fd, text + size, SOURCE_SIZE_MAX + 1 - size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        size += (size_t)got;
    }
    return (ssize_t)size;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* Opens, reads and screens it. O_NONBLOCK: a FIFO must not hang the open. NULL: a fault is noted.
 */
static struct source *read_file(struct reading *reading, struct chain *link)
{
    int fd __attribute__((cleanup(close_fd))) =
        open(link->file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        fault(reading, link, "cannot be opened: ", strerror(errno));
        return NULL;
    }
    if (!is_fit(reading, link, fd))
        return NULL;
    ssize_t size = read_whole(fd, reading->text);
    if (size < 0) {
        fault(reading, link, "cannot be read: ", strerror(errno));
        return NULL;
    }
    reading->bytes += (size_t)size;
    if (size > SOURCE_SIZE_MAX || reading->bytes > SOURCE_TOTAL_MAX) {
        fault(reading, link, "is too large: ",
              size > SOURCE_SIZE_MAX ? "more than 1 MiB" : "more than 4 MiB with those before");
        return NULL;
    }
    struct source *source = arena_take(reading->arena, sizeof *source);
    source->file = link->file;
    syntax_read(&source->screened, reading->text, (size_t)size, link->file, reading->arena,
                reading->faults);
    reading->whole &= !source->screened.broken;
    return source;
}

static void read_chain(struct reading *reading, struct chain *link);

static void read_included(struct reading *reading, const struct chain *outer,
                          const struct statement *include, const char *file)
{
    struct chain link = {
        .outer = outer,
        .file = arena_text(reading->arena, file),
        .include = include,
        .depth = outer->depth + 1,
    };
    read_chain(reading, &link);
}

/* A directory that isn't there holds no match; one that can't be read might. */
static int directory_fault(const char *path, int error)
{
    (void)path;
    return error != ENOENT && error != ENOTDIR;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted by bytes: glob itself sorts by the locale. */
static void read_matches(struct reading *reading, const struct chain *outer,
                         const struct statement *include, const char *pattern)
{
    glob_t found __attribute__((cleanup(globfree))) = {0};
    int result = glob(pattern, GLOB_NOSORT, directory_fault, &found);
    if (result == GLOB_NOMATCH)
        return;
    if (result != 0) {
        reading->whole = false;
        faults_add(reading->faults, outer->file, include->line,
                   "include: the files of %s cannot be listed", pattern);
        return;
    }
    qsort(found.gl_pathv, found.gl_pathc, sizeof *found.gl_pathv, compare_paths);
    for (size_t i = 0; i < found.gl_pathc && reading->files <= SOURCE_LIMITS_MAX; i++)
        read_included(reading, outer, include, found.gl_pathv[i]);
}

/* A relative path starts from the directory of the file that has it. In a pattern, the signs of the
 * directory's own name are meant as they are. */
static const char *whole_path(struct arena *arena, const char *file, const char *path, bool pattern)
{
    const char *slash = strrchr(file, '/');
    if (path[0] == '/' || !slash)
        return path;
    char *whole = arena_take(arena, 2 * (size_t)(slash + 1 - file) + strlen(path) + 1);
    char *to = whole;
    for (const char *from = file; from <= slash; from++) {
        if (pattern && strchr("*?[\\", *from))
            *to++ = '\\';
        *to++ = *from;
    }
    strcpy(to, path);
    return whole;
}

static void read_include(struct reading *reading, const struct chain *outer,
                         const struct statement *include)
{
    bool pattern = strpbrk(include->title, "*?[") != NULL;
    const char *path = whole_path(reading->arena, outer->file, include->title, pattern);
    if (pattern)
        read_matches(reading, outer, include, path);
    else
        read_included(reading, outer, include, path);
}

static void read_chain(struct reading *reading, struct chain *link)
{
    if (link->depth > SOURCE_DEPTH_MAX) {
        fault(reading, link, "is included too deeply", "");
        return;
    }
    if (++reading->files > SOURCE_LIMITS_MAX) {
        if (reading->files == SOURCE_LIMITS_MAX + 1)
            fault(reading, link, "is one file too many: more than 1000", "");
        return;
    }
    struct source *source = read_file(reading, link);
    if (!source)
        return;
    *reading->last = source;
    reading->last = &source->next;
    for (struct statement *s = source->screened.first; s; s = s->next)
        if (s->kind == STATEMENT_INCLUDE)
            read_include(reading, link, s);
}

struct source *source_read(const char *file, struct arena *arena, struct faults *faults,
                           bool *whole)
{
    struct source *first = NULL;
    struct reading reading = {
        .arena = arena,
        .faults = faults,
        .last = &first,
        .text = arena_take(arena, SOURCE_SIZE_MAX + 1),
        .whole = true,
    };
    struct chain link = {.file = file};
    read_chain(&reading, &link);
    *whole = reading.whole;
    return first;
}
