#include "control.h"

#include "../base/arena.h"
#include "../config/identity.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_TIMEOUT (5 * USEC_SECOND)
#define REPLY_TIMEOUT   (30 * USEC_SECOND)

/* After an error of accept() that may last: no descriptor, no memory. */
#define ACCEPT_PAUSE USEC_SECOND

enum client_state {
    CLIENT_FREE,
    CLIENT_READING, /* the request is not all there */
    CLIENT_ASKING,  /* the request is there, and is to be carried out */
    CLIENT_WAITING, /* for the answer to be complete */
    CLIENT_WRITING,
};

struct client {
    enum client_state state;
    struct loop *loop;
    struct loop_watch watch;
    usec deadline;
    struct request request;
    char bytes[MESSAGE_REQUEST_MAX + 1]; /* a NUL behind the last word */
    size_t got;
    struct buffer reply;
    size_t sent;
    bool lasts; /* stays open behind the reply: the end of the process closes it */
};

enum { CLIENTS = 64, TABLE_SIZE = CLIENTS * sizeof(struct client) };

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
    bool wanted = control->socket >= 0 && control->in_use < CLIENTS && control->again == USEC_NEVER;
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

/* A client. */

static void close_client(struct client *client)
{
    loop_remove(client->loop, &client->watch);
    close(client->watch.fd);
    request_done(&client->request);
    buffer_done(&client->reply);
    client->state = CLIENT_FREE;
}

/* Sends as much as the socket takes. The rest follows when it takes more. */
static void write_reply(struct client *client)
{
    while (client->sent < client->reply.used) {
        ssize_t n = send(client->watch.fd, client->reply.at + client->sent,
                         client->reply.used - client->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0)
            break;
        client->sent += (size_t)n;
    }
    if (!client->lasts)
        close_client(client);
}

static void answer(struct client *client)
{
    request_reply(&client->request, &client->reply);
    client->lasts = client->request.lasts;
    request_done(&client->request);
    client->state = CLIENT_WRITING;
    client->deadline = clock_now() + REPLY_TIMEOUT;
    loop_change(client->loop, &client->watch, LOOP_ROOM_FOR_OUTPUT);
    write_reply(client);
}

static void take_request(struct client *client, bool ended)
{
    struct message_request words;
    int length = message_read_request(&words, client->bytes, client->got, ended);
    if (length == 0)
        return;
    if (length > 0) {
        request_init(&client->request, &words, client->request.pid, client->request.uid);
        client->state = CLIENT_ASKING;
        client->deadline = USEC_NEVER;
        loop_change(client->loop, &client->watch, LOOP_HANGUP);
        return;
    }
    if (length == -EBADMSG)
        request_misuse(&client->request, "a control character: a request is one line of words");
    else
        request_misuse(&client->request, "too long: a request has %d words and %d bytes at most",
                       MESSAGE_WORDS, MESSAGE_REQUEST_MAX);
    answer(client);
}

/* A client that sends no newline may end its line by closing its half of the connection. */
static void read_request(struct client *client)
{
    ssize_t n = recv(client->watch.fd, client->bytes + client->got,
                     MESSAGE_REQUEST_MAX - client->got, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0 || (n == 0 && client->got == 0)) {
        close_client(client);
        return;
    }
    client->got += (size_t)n;
    take_request(client, n == 0);
}

static void client_ready(void *owner)
{
    struct client *client = owner;
    if (client->state == CLIENT_READING)
        read_request(client);
    else if (client->state == CLIENT_WRITING)
        write_reply(client);
    else
        close_client(client); /* the client left: the command goes on */
}

/* Takes over a connection. False: it could not, and the client is free again. */
static bool take_client(struct control *control, struct client *client, int fd)
{
    *client = (struct client){
        .state = CLIENT_READING,
        .loop = control->loop,
        .watch = {.fd = fd, .ready = client_ready, .owner = client},
        .deadline = clock_now() + REQUEST_TIMEOUT,
    };
    control->in_use++;
    if (loop_add(control->loop, &client->watch) == 0)
        return true;
    close_client(client);
    return false;
}

/* Its coming. */

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
    for (int i = 0; i < CLIENTS; i++)
        if (control->clients[i].state == CLIENT_FREE)
            return &control->clients[i];
    return NULL;
}

static void greet(struct control *control, struct client *client, int fd)
{
    struct ucred peer = {.uid = (uid_t)-1, .gid = (gid_t)-1};
    socklen_t size = sizeof peer;
    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
    if (!take_client(control, client, fd))
        return;
    client->request.pid = peer.pid;
    client->request.uid = peer.uid;
    if (may_ask(control, fd, &peer))
        return;
    unsigned missed;
    if (log_rate_ok(&control->refusals, 60 * USEC_SECOND, &missed))
        log_notice("control: pid %d of uid %d may not ask pid=%d uid=%d missed=%u", (int)peer.pid,
                   (int)peer.uid, (int)peer.pid, (int)peer.uid, missed);
    request_fail(&client->request, "only root, uid %d%s may ask", (int)geteuid(),
                 control->group == IDENTITY_NO_GROUP ? "" : ", or a member of control_group");
    answer(client);
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
            greet(control, client, fd);
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED)
            continue;
        if (errno != EAGAIN)
            control->again = clock_now() + ACCEPT_PAUSE;
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
    for (int i = 0; i < CLIENTS; i++) {
        struct client *client = &control->clients[i];
        if (!is_left_behind(client))
            continue;
        request_fail(&client->request, "an upgrade interrupted this request");
        answer(client);
    }
}

bool control_save(const struct control *control, struct state *state)
{
    for (int i = 0; i < CLIENTS; i++) {
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
    for (int i = 0; (saved = state_at(state, STATE_CALLER, i)) && i < CLIENTS; i++) {
        struct client *client = &control->clients[i];
        if (!take_client(control, client, (int)saved->fd))
            continue;
        client->state = CLIENT_WAITING;
        client->deadline = USEC_NEVER;
        loop_change(control->loop, &client->watch, LOOP_HANGUP);
        client->request.pid = (pid_t)saved->pid;
        client->request.uid = (uid_t)saved->uid;
        client->request.json = saved->json;
        request_wait(&client->request, wait);
    }
}

struct request *control_next(struct control *control)
{
    for (int i = 0; control->in_use && i < CLIENTS; i++)
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
        answer(client);
    if (client->state != CLIENT_FREE && now >= client->deadline)
        close_client(client);
    return client->state == CLIENT_FREE ? USEC_NEVER : client->deadline;
}

usec control_step(struct control *control, request_wait_fn *settled, struct master *master,
                  usec now)
{
    usec next = USEC_NEVER;
    int in_use = 0;
    for (int i = 0; control->in_use && i < CLIENTS; i++) {
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
