/*
 * cgi_process - a program that runs for a request, and the pipes to it and from it.
 */
#ifndef PREFORKD_HANDLERS_CGI_PROCESS_H
#define PREFORKD_HANDLERS_CGI_PROCESS_H

#include "../base/launch.h"
#include "template.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>

/* A template that the program may be run in; if it can't, the program is started by the launch. */
struct cgi_fork {
    struct template *template;
    struct service *service;
    int script; /* opened, for it to read */
    char *const *arguments;
};

struct cgi_process {
    struct template *template; /* that has forked it, and will reap it; NULL: it is our own child */
    pid_t pid;                 /* also its group's, which is its own until it is reaped */
    int pidfd;                 /* readable when it has ended; -1: reaped */
    int input, output, errors; /* our ends of its pipes; -1: closed, or never open */
    long long output_left, errors_left; /* after its end: bytes in the pipes. -1: unknown */
};

/* Starts it with a pipe for its output, and for its input and its standard error where they are
 * wanted; fills in the launch's descriptors. `fork` NULL: it is run by no template. 0; or -errno:
 * nothing of it is left then. */
int cgi_process_start(struct cgi_process *process, struct launch *launch,
                      const struct cgi_fork *fork, bool has_input, bool has_errors);

/* Read once from one of its pipes. 0: nothing now; the end of the pipe is closed if nothing more
 * is to come. */
size_t cgi_process_read_output(struct cgi_process *process, void *to, size_t room);
size_t cgi_process_read_errors(struct cgi_process *process, void *to, size_t room);

/* Writes what its input has room for: how much. Its end is closed if the program reads no more. */
size_t cgi_process_write_input(struct cgi_process *process, const void *data, size_t size);

/* Closes all pipes, so that it blocks on none of them. */
void cgi_process_close_pipes(struct cgi_process *process);

/* Notes what its pipes hold, since that is the answer's rest whatever other process has them; then
 * its input is closed. It must have ended, and still be there to be reaped. */
void cgi_process_ended(struct cgi_process *process);

/* Its status as waitpid(2) tells it, and what it took. If its template can't tell any more, it
 * counts as killed: for all we know its answer may be cut off. */
int cgi_process_reap(struct cgi_process *process, struct rusage *usage);

#endif
