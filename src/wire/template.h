/*
 * template - the messages between a worker and its template (preforkd-template(7)).
 *
 * A template is a process that is forked for each connection. It runs the user's code, so its
 * messages are trusted as little as a client's: they are bounded, and every number is checked.
 * Called by: handlers/template_process.
 * Runs in:   a worker, and the child that checks a configuration.
 */
#ifndef PREFORKD_WIRE_TEMPLATE_H
#define PREFORKD_WIRE_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>

enum {
    TEMPLATE_VERSION = 1,
    TEMPLATE_REQUEST_MAX = 192 * 1024, /* bytes of a request: a socket's default buffer holds it */
    TEMPLATE_REPLY_MAX = 256,          /* bytes of a reply */
};

/* The descriptors of a request, in this order. */
enum template_descriptor {
    TEMPLATE_INPUT,
    TEMPLATE_OUTPUT,
    TEMPLATE_ERROR,
    TEMPLATE_DIRECTORY, /* the working directory; may be O_PATH */
    TEMPLATE_SCRIPT,    /* open for reading */
    TEMPLATE_DESCRIPTORS,
};

/* Writes a request: "fork", the number of arguments, the arguments and the environment, each ended
 * by a NUL. Both lists end with NULL. Returns the size; 0 if `room` is too small. */
size_t template_write_request(char *to, size_t room, char *const *arguments,
                              char *const *environment);

enum template_word {
    TEMPLATE_NOTHING, /* an unknown word, or wrong numbers */
    TEMPLATE_READY,   /* VERSION */
    TEMPLATE_FORKED,  /* PID */
    TEMPLATE_ENDED,   /* STATUS, as of waitpid(2), and the CPU time: USER SYSTEM, both in usec */
    TEMPLATE_FAILED,  /* a sentence */
};

struct template_reply {
    enum template_word word;
    long long numbers[3];
    char text[TEMPLATE_REPLY_MAX]; /* the sentence of TEMPLATE_FAILED, else empty */
};

/* Reads one message. */
void template_read_reply(struct template_reply *reply, const char *text, size_t size);

#endif
