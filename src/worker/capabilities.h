/*
 * capabilities - what root may do, taken from a worker for good (capabilities(7)).
 *
 * Knows not: users, pools.
 * Called by: master/check and the worker's start, by privileges; capabilities_learn by the worker's room.
 * Runs in:   capabilities_learn in the master, once; the rest in a child.
 */
#ifndef PREFORKD_WORKER_CAPABILITIES_H
#define PREFORKD_WORKER_CAPABILITIES_H

/* Finds by libcap-ng what this process' children have in their bounding set. Before the first fork:
 * libcap-ng isn't mapped in any worker, and none asks the kernel again. */
void capabilities_learn(void);

/* Drops the bounding set: no program that is executed from here on gets a capability by its file,
 * root's included. While the process is root still. 0, where it isn't allowed to as well; -errno. */
int capabilities_unbound(void);

/* Empties the effective, permitted, inheritable and ambient set, and tries whether anything of it
 * comes back. 0 or -errno: -ENOTRECOVERABLE where something did. */
int capabilities_drop(void);

#endif
