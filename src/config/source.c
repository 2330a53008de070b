#include "source.h"

#include "../base/entry.h"
#include "../base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
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
    bool whole; /* every file so far was read to its end */
};

/* A file being read, and the chain of includes that led to it. */
struct chain {
    const struct chain *outer; /* the file that includes this one; NULL: the user named this one */
    const char *file;
    const struct statement *include; /* in the outer file */
    struct inode inode;
    int depth;
};

/* A fault of a whole file stands at the line that includes it. */
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

static bool includes_itself(const struct chain *link)
{
    for (const struct chain *outer = link->outer; outer; outer = outer->outer)
        if (inode_equal(&outer->inode, &link->inode))
            return true;
    return false;
}

/* Reads at most one byte more than a file may have. The size, or -1 with errno set. */
static ssize_t read_bytes(int fd, char *text)
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

/* Reads the file's text and sets `size`. O_NONBLOCK, because opening a FIFO would hang. False: a
 * fault is noted. */
static bool read_file(struct reading *reading, struct chain *link, ssize_t *size)
{
    struct stat stat;
    int fd __attribute__((cleanup(fd_cleanup))) =
        open(link->file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        fault(reading, link, "cannot be opened: ", strerror(errno));
        return false;
    }
    if (fstat(fd, &stat) < 0) {
        fault(reading, link, "cannot be read: ", strerror(errno));
        return false;
    }
    link->inode = inode_of(&stat);
    if (!S_ISREG(stat.st_mode))
        fault(reading, link, "is not a regular file", "");
    else if (includes_itself(link))
        fault(reading, link, "includes itself", "");
    else if ((*size = read_bytes(fd, reading->text)) < 0)
        fault(reading, link, "cannot be read: ", strerror(errno));
    else if (*size > SOURCE_SIZE_MAX)
        fault(reading, link, "is too large: ", "more than 1 MiB");
    else if ((reading->bytes += (size_t)*size) > SOURCE_TOTAL_MAX)
        fault(reading, link, "is too large: ", "more than 4 MiB with those before");
    else
        return true;
    return false;
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

/* A missing directory holds no match; an unreadable one might. */
static int is_glob_error(const char *path, int error)
{
    (void)path;
    return error != ENOENT && error != ENOTDIR;
}

/* The files are read in the byte order of their names: glob sorts by the locale, and preforkd sets
 * none. */
static void read_matches(struct reading *reading, const struct chain *outer,
                         const struct statement *include, const char *pattern)
{
    glob_t found __attribute__((cleanup(globfree))) = {0};
    int result = glob(pattern, 0, is_glob_error, &found);
    if (result == GLOB_NOMATCH)
        return;
    if (result != 0) {
        reading->whole = false;
        faults_add(reading->faults, outer->file, include->line,
                   "include: the files of %s cannot be listed", pattern);
        return;
    }
    for (size_t i = 0; i < found.gl_pathc && reading->files <= SOURCE_FILES_MAX; i++)
        read_included(reading, outer, include, found.gl_pathv[i]);
}

/* A relative path starts from the directory of the file that includes it. In a pattern, special
 * characters of that directory's name are escaped. */
static const char *resolve_path(struct arena *arena, const char *file, const char *path,
                                bool pattern)
{
    const char *slash = strrchr(file, '/');
    if (path[0] == '/' || !slash)
        return path;
    char *resolved = arena_take(arena, 2 * (size_t)(slash + 1 - file) + strlen(path) + 1);
    char *to = resolved;
    for (const char *from = file; from <= slash; from++) {
        if (pattern && strchr("*?[\\", *from))
            *to++ = '\\';
        *to++ = *from;
    }
    strcpy(to, path);
    return resolved;
}

static void read_chain(struct reading *reading, struct chain *link)
{
    ssize_t size;
    if (link->depth > SOURCE_DEPTH_MAX) {
        fault(reading, link, "is included too deeply", "");
        return;
    }
    if (++reading->files > SOURCE_FILES_MAX) {
        if (reading->files == SOURCE_FILES_MAX + 1)
            fault(reading, link, "exceeds the limit of files: 1000", "");
        return;
    }
    if (!read_file(reading, link, &size))
        return;
    struct source *source = arena_take(reading->arena, sizeof *source);
    source->file = link->file;
    syntax_read(&source->syntax, reading->text, (size_t)size, link->file, reading->arena,
                reading->faults);
    reading->whole &= !source->syntax.broken;
    *reading->last = source;
    reading->last = &source->next;
    for (const struct statement *s = source->syntax.first; s; s = s->next) {
        if (s->kind != STATEMENT_INCLUDE)
            continue;
        bool pattern = strpbrk(s->title, "*?[") != NULL;
        const char *path = resolve_path(reading->arena, link->file, s->title, pattern);
        (pattern ? read_matches : read_included)(reading, link, s, path);
    }
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
