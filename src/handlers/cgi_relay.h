/*
 * cgi_relay - one run of a program: passes it the body and its answer back, both at once, until it
 * has ended.
 *
 * It uses no thread, but one poll(2) over the connection, the pipes and the process.
 */
#ifndef PREFORKD_HANDLERS_CGI_RELAY_H
#define PREFORKD_HANDLERS_CGI_RELAY_H

#include "cgi_process.h"
#include "cgi_session.h"

#include <sys/resource.h>

/* How a run ended. */
enum cgi_outcome {
    CGI_DONE,       /* the program ended by itself, and the answer is complete */
    CGI_NO_ANSWER,  /* the program ended without a valid header: 500; 502 if a signal ended it */
    CGI_BAD_ANSWER, /* the header is invalid: 500, and the program was ended */
    CGI_CUT,        /* a signal ended the program in the middle of its answer */
    CGI_TIMED_OUT,  /* the program was ended: 504, or the answer is cut off if it had begun */
    CGI_ABORTED,    /* the web server gave the request up, and the program was ended */
};

struct cgi_relay {
    struct cgi_session *session;
    bool errors_to_server; /* its standard error goes to the web server; else to the worker's own */
    bool has_body;         /* the program's input is a pipe; else the null device */
    long long body_most;   /* bytes to pass on; -1: all that come */
    struct cgi_body body;  /* what of it was already read */
    bool body_first;       /* send no answer before the web server has sent the whole body */
    usec deadline;         /* USEC_NEVER: none */

    /* The result. */
    enum cgi_outcome outcome;
    const char *fault; /* what was wrong with the answer, in a few words */
    bool nph;          /* the header was translated */
    bool keep;         /* the connection can take another request */
    bool lost;         /* nothing more can be written to the connection */
    int status;        /* as waitpid(2) tells it */
    struct rusage usage;
};

/* Runs a program to its end. Fills in the launch's descriptors. 0, or -errno if the program could
 * not be started: nothing of it is left. */
int cgi_relay_run(struct cgi_relay *relay, struct launch *launch, const struct cgi_fork *fork);

#endif
