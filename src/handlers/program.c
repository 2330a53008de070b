#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

void program_check(const char *path, const char *pool, const char *handler, const char *file,
                   int line, struct faults *faults)
{
    struct stat program;
    size_t word = strcspn(path, " ");
    if (path[0] != '/')
        faults_add(faults, file, line,
                   "pool %s: %s: the program \"%s\" must be an absolute path; ~ and $ are not "
                   "expanded, and PATH is not searched",
                   pool, handler, path);
    else if (path[word] && stat(path, &program) != 0)
        faults_add(faults, file, line,
                   "pool %s: %s: there is no program \"%s\"; each argument is a string of its own: "
                   "{ \"%.*s\", \"ARGUMENT\" }",
                   pool, handler, path, (int)word, path);
    else if (stat(path, &program) != 0)
        faults_add(faults, file, line, "pool %s: %s: the program %s: %s", pool, handler, path,
                   strerror(errno));
    else if (!S_ISREG(program.st_mode))
        faults_add(faults, file, line, "pool %s: %s: the program %s is not a regular file", pool,
                   handler, path);
    else if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) != 0)
        faults_add(faults, file, line,
                   "pool %s: %s: the pool's user can't execute the program %s: %s", pool, handler,
                   path, strerror(errno));
}

enum {
    PAUSE_FIRST_MSEC = 100, /* after the second start in a row that failed */
    PAUSE_MOST_MSEC = 10 * 1000,
};

int program_pause_msec(int failed, unsigned *chance)
{
    if (failed < 2)
        return 0;
    int shift = failed - 2 < 7 ? failed - 2 : 7;
    int most = PAUSE_FIRST_MSEC << shift;
    if (most > PAUSE_MOST_MSEC)
        most = PAUSE_MOST_MSEC;
    return most / 2 + rand_r(chance) % (most / 2 + 1);
}

/* The pipe is that of all programs that this worker runs. The master looks at how many connections
 * were accepted, so it knows that what it has read by now was written before the next one
 * (master/stderr_log). The rest gets an end of line here; a doubled one makes an empty line, which
 * is not logged. So a program that wrote nothing costs a question, and no wake-up of the master. A
 * write that blocks waits for the master, which always reads; if a program set O_NONBLOCK, and left
 * the pipe full, it is tried again without. */
void program_end_line(void)
{
    int unread = 0;
    if (ioctl(STDERR_FILENO, FIONREAD, &unread) != 0 || unread == 0)
        return;
    ssize_t written = write(STDERR_FILENO, "\n", 1);
    if (written < 0 && errno == EAGAIN && fcntl(STDERR_FILENO, F_SETFL, 0) == 0)
        written = write(STDERR_FILENO, "\n", 1);
    (void)written;
}

/* Adds a variable from malloc(), unless the list has one of its name. */
static int put(char **list, int count, char *variable)
{
    size_t name = variable ? strcspn(variable, "=") + 1 : 0;
    bool wanted = variable != NULL;
    for (int i = 0; i < count && wanted; i++)
        wanted = strncmp(list[i], variable, name) != 0;
    if (wanted)
        list[count++] = variable;
    else
        free(variable);
    return count;
}

char **program_environment(const struct pool_config *pool)
{
    const char *path = getenv("PATH");
    const struct {
        const char *name, *value;
    } base[] = {
        {"PATH", path ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        {"TZ", getenv("TZ")},
        {"LANG", getenv("LANG")},
        {"HOME", pool->identity.home},
        {"USER", pool->identity.user},
        {"LOGNAME", pool->identity.user},
    };
    enum { BASE = sizeof base / sizeof *base };
    char **list = calloc((size_t)pool->environment.count + BASE + 1, sizeof *list);
    int count = 0;
    for (int i = 0; list && i < pool->environment.count; i++)
        count = put(list, count, strdup(pool->environment.at[i]));
    for (int i = 0; list && i < BASE; i++) {
        char *variable;
        if (base[i].value && asprintf(&variable, "%s=%s", base[i].name, base[i].value) >= 0)
            count = put(list, count, variable);
    }
    return list;
}
