/*
 * listener - a listening socket that a pool's workers share, and where it came from.
 *
 * Owns:      the master's descriptor of it, a Unix socket's path as long as the inode is ours, and
 *            the options that accepted connections inherit from it (keep-alive, SO_RCVTIMEO,
 *            SO_SNDTIMEO).
 * Knows not: pools. It is matched from one configuration to the next by its address or its name.
 * Called by: the master.
 * Runs in:   the master; workers inherit the descriptor alone.
 */
#ifndef PREFORKD_SHARED_LISTENER_H
#define PREFORKD_SHARED_LISTENER_H

#include "../base/addr.h"
#include "../config/config.h"

enum listener_origin {
    LISTENER_BOUND,     /* by us: closed, and its path unlinked, when nobody wants it any more */
    LISTENER_ACTIVATED, /* passed by systemd: neither closed nor unlinked, it is not ours */
    LISTENER_STORED, /* bound by a master before us, and not in force yet: closed, not unlinked */
};

/* What its descriptor does not tell: to be carried where that goes. */
struct listener_facts {
    enum listener_origin origin;
    const char *passed_name; /* NULL: none */
    unsigned port;           /* that was asked for */
    bool any_family;
    bool lent;    /* to programs: see struct listener */
    dev_t device; /* of a path that we made; inode 0: none */
    ino_t inode;
};

struct listener {
    struct listener *next;
    enum listener_origin origin;
    int fd;
    struct addr asked; /* by the file: its port may be 0 */
    bool any_family;
    char *passed_name; /* of an activated one, else NULL */
    struct addr bound; /* where it really listens */
    dev_t device;      /* of a path that we made */
    ino_t inode;
    bool wanted; /* by the configuration that is being prepared */
    bool stored; /* systemd has it too */
    bool lent;   /* programs accept by it: whether it blocks is theirs to say from then on */
    char text[ADDR_TEXT]; /* `bound`, printed */
};

/* What of a pool's configuration sits on its sockets. */
struct listener_options {
    int backlog;
    int mode; /* of a Unix socket's path */
    uid_t uid;
    gid_t gid;
    int keepalive;    /* seconds, 0 off */
    int idle_timeout; /* seconds that a connection inherits; 0: none, for handlers whose programs
                         would inherit it */
    bool nonblocking; /* the pool polls several listeners */
    bool lent;        /* to programs, which get it as it is made: blocking */
};

/* Opens, binds and listens. 0, or -errno with a sentence in `why`. */
int listener_open(struct listener **listener, const struct listen_spec *spec,
                  const struct listener_options *options, char *why, size_t size);

/* Takes over a descriptor that was passed. NULL where it is no listening stream socket, with a
 * sentence in `why`. */
struct listener *listener_adopt(int fd, const char *name, char *why, size_t size);

/* What listener_revive needs to make the same one of the same descriptor. */
struct listener_facts listener_facts(const struct listener *listener);

/* One of a descriptor that listens since before this program did. NULL where it does not, with a
 * sentence in `why`. The descriptor stays the caller's then. */
struct listener *listener_revive(int fd, const struct listener_facts *facts, char *why,
                                 size_t size);

/* The same facts as a name that systemd's store takes, unlike every other socket's; and back. */
enum { LISTENER_NAME = 256 };
void listener_name(const struct listener *listener, char name[static LISTENER_NAME]);
bool listener_name_read(const char *name, struct listener_facts *facts);

/* Whether its path, if it has one, leads to it still. */
bool listener_is_reachable(const struct listener *listener);

/* Sets what can change while it listens: all of the options. What fails is logged. */
void listener_apply(struct listener *listener, const struct listener_options *options);

/* Sets of the options what workers of a coming generation need before they may accept, and what
 * does no harm to those that are there: no timeout; not blocking, or, where it is about to be lent,
 * blocking, which workers of ours can bear. */
void listener_prepare(struct listener *listener, const struct listener_options *options);

/* The one of a list that has this descriptor; NULL: none. */
struct listener *listener_find(struct listener *list, int fd);

/* Whether it is the one that the specification means. */
bool listener_is(const struct listener *listener, const struct listen_spec *spec);

/* Whether binding the specification would collide with it, although it is another address. */
bool listener_collides(const struct listener *listener, const struct listen_spec *spec);

/* Closes what is ours to close, unlinks what is ours to unlink, frees. NULL is let pass. */
void listener_close(struct listener *listener);

#endif
