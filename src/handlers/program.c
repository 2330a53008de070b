#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
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
