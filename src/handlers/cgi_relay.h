/*
 * cgi_relay - a program's run: the body to it, its answer back, both at once, until it has ended.
 *
 * No thread: one poll(2) over the connection, the pipes and the process.
 */
#ifndef PREFORKD_HANDLERS_CGI_RELAY_H
#define PREFORKD_HANDLERS_CGI_RELAY_H

#include "cgi_process.h"
#include "cgi_session.h"

#include <sys/resource.h>

/* What became of it. */
enum cgi_outcome {
    CGI_DONE,       /* it ended by itself, and the answer is complete */
    CGI_NO_ANSWER,  /* it ended without a valid header: 500, or 502 if a signal ended it */
    CGI_BAD_ANSWER, /* its header is none: 500, and it was ended */
    CGI_CUT,        /* a signal ended it in the middle of its answer */
    CGI_TIMED_OUT,  /* it was ended: 504, or the answer cut if it had begun */
    CGI_ABORTED,    /* the web server did not want it any more: it was ended */
};

struct cgi_relay {
    struct cgi_session *session;
    bool errors_to_server; /* what it says on standard error; else it goes to our own */
    bool has_body;         /* the program gets a pipe as its input, else nothing */
    long long body_most;   /* bytes of it; -1: all that come */
    struct cgi_body body;  /* what of it is here already */
    bool head_only;        /* of the answer no body is wanted: the request is a HEAD */
    bool body_first;       /* the web server must have sent the body before it sees an answer */
    usec deadline;         /* USEC_NEVER: none */

    /* What came of it. */
    enum cgi_outcome outcome;
    const char *fault; /* of a bad answer, in a few words */
    bool nph;          /* its header was translated */
    bool keep;         /* the connection can take another request */
    bool lost;         /* nothing more can be written to it */
    int status;        /* as waitpid(2) tells it */
    struct rusage usage;
};

/* Runs it to its end. 0; or -errno if it can't be started: nothing of it is left then. The
 * launch's descriptors are filled in here. */
int cgi_relay_run(struct cgi_relay *relay, struct launch *launch, const struct cgi_fork *fork);

#endif
