/*
 * listener - a listening socket that a pool's workers share, and its origin. Runs in the master;
 * workers inherit only the descriptor.
 *
 * Owns the descriptor, a Unix socket's path while the inode is ours, and the options that accepted
 * connections inherit (keep-alive, SO_RCVTIMEO, SO_SNDTIMEO). A new configuration finds its
 * listeners again by address or name.
 */
#ifndef PREFORKD_LISTENERS_LISTENER_H
#define PREFORKD_LISTENERS_LISTENER_H

#include "../base/addr.h"
#include "../base/entry.h"
#include "../base/log.h"
#include "../config/config.h"

enum listener_origin {
    LISTENER_BOUND,     /* by us; when it is no longer wanted, it is closed and its path unlinked */
    LISTENER_ACTIVATED, /* passed by systemd, and not ours: neither closed nor unlinked */
    LISTENER_STORED,    /* bound by an earlier master, not in force yet: closed, but not unlinked */
};

/* Why clients can't connect any more. */
enum listener_loss {
    LISTENER_SOUND,   /* they can */
    LISTENER_REMOVED, /* the path is gone, or leads to something else */
    LISTENER_SHUT,    /* a process that has the descriptor called shutdown(2) on it */
};

extern const char *const listener_loss_words[]; /* "its path was removed" */

enum { LISTENER_TROUBLE = 120 };

/* The facts about a listener that its descriptor doesn't tell, to be handed on with the
 * descriptor. */
struct listener_facts {
    enum listener_origin origin;
    const char *passed_name; /* NULL: none */
    unsigned port;           /* that was asked for */
    bool any_family;
    bool lent;    /* to programs: see struct listener */
    dev_t device; /* of the path that we made; inode 0: none */
    ino_t inode;
};

struct listener {
    struct listener *next;
    enum listener_origin origin;
    int fd;
    struct addr asked; /* as configured; the port may be 0 */
    bool any_family;
    char *passed_name;            /* of an activated listener, else NULL */
    struct addr bound;            /* where it really listens */
    struct inode made;            /* of the path that we made */
    struct inode directory;       /* of the path, which may have other spellings */
    bool wanted;                  /* by the configuration that is being prepared */
    bool stored;                  /* systemd's descriptor store has it too */
    int timeouts;                 /* that connections inherit, in seconds; -1: unknown */
    bool lent;                    /* programs accept on it, and decide whether it blocks, until the
                                     last of them has ended: see listener_reclaim */
    char text[ADDR_TEXT];         /* `bound`, printed */
    char pool[POOL_NAME_MAX + 1]; /* of the pool in the configuration in force; empty:
                                     unknown */

    bool unreachable; /* at the latest look, clients couldn't connect */
    int watch;        /* on the path, see master/listener_upkeep; 0: none */
    bool suspect;     /* the watch saw an event */
    struct log_rate loss_logged;

    /* For the plan that is being made. */
    struct listener *successor;     /* replaces this listener, which is lost */
    enum listener_loss mended;      /* its own or its predecessor's loss, before it was reopened */
    char trouble[LISTENER_TROUBLE]; /* why it couldn't be opened again; empty: not tried */
};

/* The options of a pool that are set on its sockets. */
struct listener_options {
    int backlog;
    int mode; /* of a Unix socket's path */
    uid_t uid;
    gid_t gid;
    int keepalive;    /* seconds; 0: off */
    int idle_timeout; /* seconds, inherited by connections; 0: none, because programs would inherit
                         it too */
    bool nonblocking; /* the pool polls its listeners */
    bool lent;        /* to programs, which get it as a new socket is: blocking */
};

/* Opens, binds and listens. 0, or -errno with a sentence in `why`. */
int listener_open(struct listener **listener, const struct listen_spec *spec,
                  const struct listener_options *options, char *why, size_t size);

/* Adopts a descriptor that systemd passed. NULL if it is no listening stream socket of IP or Unix,
 * with a sentence in `why`. */
struct listener *listener_adopt(int fd, const char *name, char *why, size_t size);

/* The facts from which listener_revive makes the same listener again. */
struct listener_facts listener_facts(const struct listener *listener);

/* Makes a listener of a descriptor from an earlier master. NULL if it doesn't listen, with a
 * sentence in `why`; the descriptor then stays the caller's. */
struct listener *listener_revive(int fd, const struct listener_facts *facts, char *why,
                                 size_t size);

/* The facts as a name for systemd's descriptor store, different from that of any other socket; and
 * back. */
enum { LISTENER_NAME = 256 };
void listener_name(const struct listener *listener, char name[static LISTENER_NAME]);
bool listener_name_read(const char *name, struct listener_facts *facts);

/* Looks whether clients can connect, and updates `unreachable`. */
enum listener_loss listener_look(struct listener *listener);

/* Whether clients could connect at the latest look. Costs no system call. */
bool listener_is_reachable(const struct listener *listener);

/* Whether a process that has the descriptor called shutdown(2) on it. */
bool listener_is_shut(const struct listener *listener);

/* Makes a listener that was shut down listen again, in place, for every process that has its
 * descriptor. 0 or -errno: -EOPNOTSUPP for a Unix socket, which can only be bound anew. */
int listener_heal(struct listener *listener, int backlog);

/* Sets all of the options, while the socket listens. Logs what fails. A listener that is lent and
 * will not be any more keeps its timeouts, which are none, and blocks or not as before: earlier
 * programs still accept on it. Our workers cope with both. */
void listener_apply(struct listener *listener, const struct listener_options *options);

/* The last program that the listener was lent to has ended: sets what listener_apply left. */
void listener_reclaim(struct listener *listener, const struct listener_options *options);

/* Sets the options that workers of the next generation need before they accept, and that our
 * present workers can cope with: non-blocking; or, if the listener is about to be lent, blocking
 * and without timeouts. Nothing if it is lent already. */
void listener_prepare(struct listener *listener, const struct listener_options *options);

/* The listener in the list that has this descriptor; NULL: none. */
struct listener *listener_find(struct listener *list, int fd);

/* Whether the specification means this listener. */
bool listener_is(const struct listener *listener, const struct listen_spec *spec);

/* Whether binding the specification would collide with this listener, although the addresses
 * differ. */
bool listener_collides(const struct listener *listener, const struct listen_spec *spec);

/* Closes and unlinks what is ours, and frees the listener. NULL does nothing. */
void listener_close(struct listener *listener);

#endif
