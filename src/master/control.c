#include "control.h"

#include "../base/arena.h"
#include "../config/identity.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TABLE_SIZE = CONTROL_CLIENTS * sizeof(struct client) };

/* After an error of accept() that may last: no descriptor, no memory. */
#define ACCEPT_PATIENCE USEC_SECOND

static void accept_client(void *owner);

int control_open(struct control *control, struct loop *loop)
{
    *control = (struct control){
        .loop = loop,
        .watch = {.fd = -1, .ready = accept_client, .owner = control},
        .socket = -1,
        .again = USEC_NEVER,
        .clients = arena_unforked(TABLE_SIZE),
    };
    return control->clients ? 0 : -errno;
}

/* Connections stay open: a client that waits for the end of the process sees it by their
 * closing. */
void control_close(struct control *control)
{
    if (control->clients)
        munmap(control->clients, TABLE_SIZE);
}

static void unwatch(struct control *control)
{
    if (control->watch.fd >= 0)
        loop_remove(control->loop, &control->watch);
    control->watch.fd = -1;
}

/* The socket is watched if there is one, a client has room, and no error is to be waited out. */
static void rewatch(struct control *control)
{
    bool wanted =
        control->socket >= 0 && control->in_use < CONTROL_CLIENTS && control->again == USEC_NEVER;
    if (!wanted || (control->watch.fd >= 0 && control->watch.fd != control->socket))
        unwatch(control);
    if (!wanted || control->watch.fd >= 0)
        return;
    control->watch.fd = control->socket;
    if (loop_add(control->loop, &control->watch) != 0)
        control->watch.fd = -1;
}

void control_listen(struct control *control, int socket, gid_t group)
{
    control->socket = socket;
    control->group = group;
    rewatch(control);
}

static bool has_group(int fd, gid_t group)
{
    socklen_t size = 0;
    bool found = false;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) == 0 || errno != ERANGE)
        return false;
    gid_t *groups = malloc(size);
    if (groups && getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) == 0)
        for (size_t i = 0; i < size / sizeof *groups; i++)
            found = found || groups[i] == group;
    free(groups);
    return found;
}

static bool may_ask(const struct control *control, int fd, const struct ucred *peer)
{
    if (peer->uid == 0 || peer->uid == geteuid())
        return true;
    if (control->group == IDENTITY_NO_GROUP)
        return false;
    return peer->gid == control->group || has_group(fd, control->group);
}

static struct client *free_client(struct control *control)
{
    for (int i = 0; i < CONTROL_CLIENTS; i++)
        if (control->clients[i].state == CLIENT_FREE)
            return &control->clients[i];
    return NULL;
}

static void greet(struct control *control, struct client *client, int fd)
{
    struct ucred peer = {.uid = (uid_t)-1, .gid = (gid_t)-1};
    socklen_t size = sizeof peer;
    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
    client_open(client, control->loop, fd, peer.pid, peer.uid);
    if (client->state == CLIENT_FREE || may_ask(control, fd, &peer))
        return;
    unsigned missed;
    if (log_rate_ok(&control->strangers, 60 * USEC_SECOND, &missed))
        log_notice("control: pid %d of uid %d may not ask pid=%d uid=%d missed=%u", (int)peer.pid,
                   (int)peer.uid, (int)peer.pid, (int)peer.uid, missed);
    request_fail(&client->request, "only root, uid %d%s may ask", (int)geteuid(),
                 control->group == IDENTITY_NO_GROUP ? "" : ", or a member of control_group");
    client_answer(client);
}

/* Accepts all that wait. If the table is full, the socket is not watched until a client has
 * gone. */
static void accept_client(void *owner)
{
    struct control *control = owner;
    struct client *client;
    while ((client = free_client(control))) {
        int fd = accept4(control->socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            control->in_use++;
            greet(control, client, fd);
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED)
            continue;
        if (errno != EAGAIN)
            control->again = clock_now() + ACCEPT_PATIENCE;
        break;
    }
    rewatch(control);
}

static bool is_left_behind(const struct client *client)
{
    return client->state == CLIENT_WAITING && !client->request.carried;
}

void control_part(struct control *control)
{
    for (int i = 0; i < CONTROL_CLIENTS; i++) {
        struct client *client = &control->clients[i];
        if (!is_left_behind(client))
            continue;
        request_fail(&client->request, "an upgrade interrupted this request");
        client_answer(client);
    }
}

bool control_save(const struct control *control, struct state *state)
{
    for (int i = 0; i < CONTROL_CLIENTS; i++) {
        const struct client *client = &control->clients[i];
        if (client->state != CLIENT_WAITING || !client->request.carried)
            continue;
        struct state_caller *saved = state_add(state, STATE_CALLER);
        if (!saved)
            return false;
        *saved = (struct state_caller){
            .fd = client->watch.fd,
            .pid = client->request.pid,
            .uid = client->request.uid,
            .json = client->request.json,
        };
    }
    return true;
}

void control_adopt(struct control *control, const struct state *state, request_wait_fn *wait)
{
    const struct state_caller *saved;
    for (int i = 0; (saved = state_at(state, STATE_CALLER, i)) && i < CONTROL_CLIENTS; i++) {
        struct client *client = &control->clients[i];
        client_adopt(client, control->loop, (int)saved->fd);
        client->request.pid = (pid_t)saved->pid;
        client->request.uid = (uid_t)saved->uid;
        client->request.json = saved->json;
        request_wait(&client->request, wait);
        control->in_use++;
    }
}

struct request *control_next(struct control *control)
{
    for (int i = 0; control->in_use && i < CONTROL_CLIENTS; i++)
        if (control->clients[i].state == CLIENT_ASKING) {
            control->clients[i].state = CLIENT_WAITING;
            return &control->clients[i].request;
        }
    return NULL;
}

/* Returns when this one wants to be looked at again. */
static usec step_client(struct client *client, request_wait_fn *settled, struct master *master,
                        usec now)
{
    if (client->state == CLIENT_WAITING && settled(master, &client->request))
        client_answer(client);
    return client->state == CLIENT_FREE ? USEC_NEVER : client_step(client, now);
}

usec control_step(struct control *control, request_wait_fn *settled, struct master *master,
                  usec now)
{
    usec next = USEC_NEVER;
    int in_use = 0;
    for (int i = 0; control->in_use && i < CONTROL_CLIENTS; i++) {
        struct client *client = &control->clients[i];
        next = clock_earlier(next, step_client(client, settled, master, now));
        in_use += client->state != CLIENT_FREE;
    }
    control->in_use = in_use;
    if (now >= control->again)
        control->again = USEC_NEVER;
    rewatch(control);
    return clock_earlier(next, control->again);
}
