/*
 * cgi_process - a program that runs for a request, and the pipes to and from it.
 */
#ifndef PREFORKD_HANDLERS_CGI_PROCESS_H
#define PREFORKD_HANDLERS_CGI_PROCESS_H

#include "../base/launch.h"
#include "template.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>

/* The template to run the program in; if that fails, the launch starts it. */
struct cgi_fork {
    struct template *template;
    struct service *service;
    int script; /* its descriptor, from which the template reads */
    char *const *arguments;
};

struct cgi_process {
    struct template *template; /* that forked it, and will reap it; NULL: it is our child */
    pid_t pid;                 /* also its group's; belongs to no other before it is reaped */
    int pidfd;                 /* readable when it has ended; -1: it was reaped */
    int input, output, errors; /* our ends of its pipes; -1: closed, or never open */
    long long output_left, errors_left; /* bytes in the pipes after its end; -1: it has not ended */
};

/* Starts a program with a pipe for its output, and, if wanted, for its input and its standard
 * error; fills in the launch's descriptors. `fork` NULL: without a template. 0, or -errno: nothing
 * of it is left. */
int cgi_process_start(struct cgi_process *process, struct launch *launch,
                      const struct cgi_fork *fork, bool has_input, bool has_errors);

/* Read once from a pipe. 0: nothing to read now; if there will never be more, our end is closed. */
size_t cgi_process_read_output(struct cgi_process *process, void *to, size_t room);
size_t cgi_process_read_errors(struct cgi_process *process, void *to, size_t room);

/* Writes as much as the input pipe takes; returns how much. Closes our end if the program reads no
 * more. */
size_t cgi_process_write_input(struct cgi_process *process, const void *data, size_t size);

/* Closes all pipes, so that the program blocks on none of them. */
void cgi_process_close_pipes(struct cgi_process *process);

/* To be called when the program has ended, before it is reaped. What its pipes hold now is the rest
 * of the answer, whichever other process has them open: notes how much that is. Closes the
 * input. */
void cgi_process_ended(struct cgi_process *process);

/* Reaps it. Returns its status as waitpid(2) does, and fills in what it used. If its template can't
 * tell the status, the program counts as killed, because its answer may be incomplete. */
int cgi_process_reap(struct cgi_process *process, struct rusage *usage);

#endif
