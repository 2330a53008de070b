/*
 * template - the messages between a worker and its template, which preforkd-template(7) documents.
 *
 * A template is a process that is forked for each connection; its code is somebody else's. So what
 * it says is read like the word of a client: bounded, and only as far as it makes sense.
 * Called by: handlers/template_process.
 * Runs in:   a worker, and the child that checks a configuration.
 */
#ifndef PREFORKD_WIRE_TEMPLATE_H
#define PREFORKD_WIRE_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>

enum {
    TEMPLATE_VERSION = 1,
    TEMPLATE_REQUEST_MAX = 192 * 1024, /* bytes of a request, as a socket has room for by default */
    TEMPLATE_REPLY_MAX = 256,          /* of what a template says */
};

/* The descriptors of a request, in this order. */
enum template_descriptor {
    TEMPLATE_INPUT,
    TEMPLATE_OUTPUT,
    TEMPLATE_ERROR,
    TEMPLATE_DIRECTORY, /* the working directory; maybe O_PATH */
    TEMPLATE_SCRIPT,    /* open for reading */
    TEMPLATE_DESCRIPTORS,
};

/* "fork", how many arguments there are, these, and the environment: texts that end in NUL. Both
 * lists end in NULL. The size; 0: there is no room. */
size_t template_write_request(char *to, size_t room, char *const *arguments,
                              char *const *environment);

enum template_word {
    TEMPLATE_NOTHING, /* no such word, or the wrong numbers behind it */
    TEMPLATE_READY,   /* VERSION */
    TEMPLATE_FORKED,  /* PID */
    TEMPLATE_ENDED,   /* STATUS, as waitpid(2) has it, and what it took: USER SYSTEM, both usec */
    TEMPLATE_FAILED,  /* a sentence */
};

struct template_reply {
    enum template_word word;
    long long numbers[3];
    char text[TEMPLATE_REPLY_MAX]; /* of TEMPLATE_FAILED; empty else */
};

/* Reads one message. */
void template_read_reply(struct template_reply *reply, const char *text, size_t size);

#endif
