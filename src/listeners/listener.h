/*
 * listener - a listening socket that a pool's workers share, and where it came from. In the master;
 * workers inherit the descriptor alone.
 *
 * Owns the descriptor, a Unix socket's path as long as the inode is ours, and the options that
 * accepted connections inherit (keep-alive, SO_RCVTIMEO, SO_SNDTIMEO). It is matched from one
 * configuration to the next by its address or its name.
 */
#ifndef PREFORKD_LISTENERS_LISTENER_H
#define PREFORKD_LISTENERS_LISTENER_H

#include "../base/addr.h"
#include "../base/entry.h"
#include "../base/log.h"
#include "../config/config.h"

enum listener_origin {
    LISTENER_BOUND,     /* by us: closed, and its path unlinked, when nobody wants it any more */
    LISTENER_ACTIVATED, /* passed by systemd: neither closed nor unlinked, it is not ours */
    LISTENER_STORED, /* bound by a master before us, and not in force yet: closed, not unlinked */
};

/* Why nobody can connect to one any more. */
enum listener_loss {
    LISTENER_SOUND,   /* nothing is wrong */
    LISTENER_REMOVED, /* its path is gone, or leads to something else */
    LISTENER_SHUT,    /* a process that has its descriptor called shutdown(2) on it */
};

extern const char *const listener_loss_words[]; /* "its path was removed" */

enum { LISTENER_TROUBLE = 120 };

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
    char *passed_name;      /* of an activated one, else NULL */
    struct addr bound;      /* where it really listens */
    struct inode made;      /* of a path that we made */
    struct inode directory; /* in which a path lies: it may have other spellings */
    bool wanted;            /* by the configuration that is being prepared */
    bool stored;            /* systemd has it too */
    bool lent; /* programs accept by it: whether it blocks is theirs to say from then on */
    char text[ADDR_TEXT]; /* `bound`, printed */

    bool unreachable; /* as of the latest look: nobody can connect to it */
    int watch;        /* on its path, see master/listener_watch; 0: none */
    bool suspect;     /* something happened there */
    struct log_rate loss_logged;

    /* of the plan that is being made */
    struct listener *successor; /* takes its place, since it is lost */
    enum listener_loss
        mended; /* what it was, or what its predecessor was, before it was opened again */
    char trouble[LISTENER_TROUBLE]; /* why it could not be opened again; empty: it was not tried */
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

/* Takes over a descriptor that was passed. NULL if it is no listening stream socket, with a
 * sentence in `why`. */
struct listener *listener_adopt(int fd, const char *name, char *why, size_t size);

/* What listener_revive needs to make the same one of the same descriptor. */
struct listener_facts listener_facts(const struct listener *listener);

/* One of a descriptor that listens since before this program did. NULL if it does not, with a
 * sentence in `why`. The descriptor stays the caller's then. */
struct listener *listener_revive(int fd, const struct listener_facts *facts, char *why,
                                 size_t size);

/* The same facts as a name that systemd's store takes, unlike every other socket's; and back. */
enum { LISTENER_NAME = 256 };
void listener_name(const struct listener *listener, char name[static LISTENER_NAME]);
bool listener_name_read(const char *name, struct listener_facts *facts);

/* Looks what is wrong with it, and notes whether it can be reached. */
enum listener_loss listener_look(struct listener *listener);

/* Whether it could be reached at the latest look. It costs nothing to ask. */
bool listener_is_reachable(const struct listener *listener);

/* Whether a process that has its descriptor called shutdown(2) on it. */
bool listener_is_shut(const struct listener *listener);

/* Makes a listener that was shut down listen again, in place, for every process that has its
 * descriptor. 0 or -errno: -EOPNOTSUPP of a Unix socket, which can only be bound anew. */
int listener_heal(struct listener *listener, int backlog);

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
