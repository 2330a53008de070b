#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

void program_check(const char *path, const char *pool, const char *handler, const char *file,
                   int line, struct faults *faults)
{
    struct stat program;
    if (path[0] != '/')
        faults_add(faults, file, line, "pool %s: %s: the program \"%s\" must be an absolute path",
                   pool, handler, path);
    else if (stat(path, &program) != 0)
        faults_add(faults, file, line, "pool %s: %s: the program %s: %s", pool, handler, path,
                   strerror(errno));
    else if (!S_ISREG(program.st_mode))
        faults_add(faults, file, line, "pool %s: %s: the program %s is no regular file", pool,
                   handler, path);
    else if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) != 0)
        faults_add(faults, file, line,
                   "pool %s: %s: the pool's user can't execute the program %s: %s", pool, handler,
                   path, strerror(errno));
}

static bool write_end(void)
{
    return write(STDERR_FILENO, "\n", 1) == 1;
}

/* The pipe is that of all programs that this worker runs. What the master has read by now, it knows to
 * be of a connection before the next: it looks at how many were accepted (master/lines). What it has
 * not, gets an end here; where there was one, that makes an empty line, which nobody logs. So a program
 * that wrote nothing costs a question, and no wake-up of the master. A write that blocks waits for the
 * master, who always reads; if a program set O_NONBLOCK, and left the pipe full, it is tried again
 * without. */
void program_end_line(void)
{
    int unread = 0;
    if (ioctl(STDERR_FILENO, FIONREAD, &unread) != 0 || unread == 0 || write_end())
        return;
    if (errno == EAGAIN && fcntl(STDERR_FILENO, F_SETFL, 0) == 0)
        write_end();
}
