#include "control.h"

#include "../base/arena.h"
#include "../base/fd.h"
#include "../config/identity.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_TIMEOUT (5 * USEC_SECOND)
#define REPLY_TIMEOUT   (30 * USEC_SECOND)

/* After an error of accept() that may last: no descriptors, no memory. */
#define ACCEPT_PAUSE USEC_SECOND

enum client_state {
    CLIENT_FREE,
    CLIENT_READING, /* the request is not complete */
    CLIENT_ASKING,  /* the request waits for control_next */
    CLIENT_WAITING, /* the answer is not complete */
    CLIENT_WRITING,
};

struct client {
    enum client_state state;
    struct loop *loop;
    struct loop_watch watch;
    usec deadline;
    struct request request;
    char bytes[MESSAGE_REQUEST_MAX + 1]; /* with a NUL behind the last word */
    size_t got;
    struct buffer reply;
    size_t sent;
    bool keep_open; /* after the reply, until this process ends */
};

enum {
    CLIENTS = 64,
    TABLE_SIZE = CLIENTS * sizeof(struct client),
    SENTENCE_MAX = 1024,
};

/* --- requests --------------------------------------------------------------------------------- */

void request_init(struct request *request, const struct message_request *words, pid_t pid,
                  uid_t uid)
{
    *request = (struct request){.pid = pid, .uid = uid};
    for (int i = 0; i < words->count; i++)
        if (strcmp(words->words[i], "--json") == 0)
            request->json = true;
        else
            request->words.words[request->words.count++] = words->words[i];
}

void request_done(struct request *request)
{
    buffer_done(&request->output);
    buffer_done(&request->errors);
    *request = (struct request){0};
}

const char *request_argument(const struct request *request, int number)
{
    return request && number < request->words.count ? request->words.words[number] : NULL;
}

void request_say(struct request *request, const char *format, ...)
{
    char sentence[SENTENCE_MAX];
    va_list args;
    if (!request)
        return;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    buffer_print(&request->output, "%s\n", sentence);
}

void request_answer(struct request *request, char *text)
{
    if (text) {
        buffer_add(&request->output, text, strlen(text));
        request->formatted = true;
    } else {
        request_fail(request, "out of memory");
    }
    free(text);
}

__attribute__((format(printf, 3, 0))) static void fail(struct request *request, int status,
                                                       const char *format, va_list args)
{
    char sentence[SENTENCE_MAX];
    vsnprintf(sentence, sizeof sentence, format, args);
    if (!request) {
        log_notice("%s", sentence);
        return;
    }
    buffer_print(&request->errors, "%s\n", sentence);
    request->status = status;
}

void request_fail(struct request *request, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail(request, MESSAGE_REFUSED, format, args);
    va_end(args);
}

void request_misuse(struct request *request, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail(request, MESSAGE_USAGE, format, args);
    va_end(args);
}

void request_wait(struct request *request, request_wait_fn *wait)
{
    if (request)
        request->wait = wait;
}

/* Adds the text without its last newline. */
static void add_json_text(struct buffer *json, const char *name, const struct buffer *text)
{
    size_t size = text->used && text->at[text->used - 1] == '\n' ? text->used - 1 : text->used;
    buffer_print(json, ",\"%s\":", name);
    buffer_add_quoted(json, text->at, size);
}

/* Wraps an answer that is text in a JSON object. */
static void wrap_in_json(struct request *request)
{
    struct buffer json = {0};
    buffer_print(&json, "{\"ok\":%s", request->status == MESSAGE_DONE ? "true" : "false");
    add_json_text(&json, "text", &request->output);
    if (request->errors.used)
        add_json_text(&json, "error", &request->errors);
    buffer_print(&json, "}\n");
    json.cut = json.cut || request->output.cut || request->errors.cut;
    buffer_done(&request->output);
    buffer_done(&request->errors);
    request->output = json;
}

void request_reply(struct request *request, struct buffer *reply)
{
    if (request->json && !request->formatted)
        wrap_in_json(request);
    if (request->output.cut || request->errors.cut ||
        request->output.used + request->errors.used > BUFFER_MAX - MESSAGE_HEAD) {
        buffer_done(&request->output);
        buffer_done(&request->errors);
        request_fail(request, "the answer is too long");
    }
    const struct message_head head = {(enum message_status)request->status, request->output.used,
                                      request->errors.used};
    char line[MESSAGE_HEAD];
    buffer_add(reply, line, (size_t)message_write_head(&head, line));
    buffer_add(reply, request->output.at, request->output.used);
    buffer_add(reply, request->errors.at, request->errors.used);
}

/* --- the socket ------------------------------------------------------------------------------- */

static void accept_clients(void *owner);

int control_open(struct control *control, struct loop *loop)
{
    *control = (struct control){
        .loop = loop,
        .watch = {.fd = -1, .ready = accept_clients, .owner = control},
        .socket = -1,
        .paused_until = USEC_NEVER,
        .clients = arena_unforked(TABLE_SIZE),
    };
    return control->clients ? 0 : -errno;
}

/* Leaves the connections open: a client that waits for the end of this process sees it when the
 * kernel closes them. */
void control_close(struct control *control)
{
    if (control->clients)
        munmap(control->clients, TABLE_SIZE);
}

/* Watches the socket if there is one, the table has room for a client, and no pause is on. */
static void update_watch(struct control *control)
{
    bool wanted = control->socket >= 0 && control->in_use < CLIENTS &&
                  control->paused_until == USEC_NEVER && !control->held;
    if (control->watch.fd >= 0 && (!wanted || control->watch.fd != control->socket)) {
        loop_remove(control->loop, &control->watch);
        control->watch.fd = -1;
    }
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
    update_watch(control);
}

/* --- the clients ------------------------------------------------------------------------------ */

static void close_client(struct client *client)
{
    loop_remove(client->loop, &client->watch);
    fd_close_foreign(client->watch.fd);
    request_done(&client->request);
    buffer_done(&client->reply);
    client->state = CLIENT_FREE;
}

/* Sends what the socket has room for. The loop calls again when it has room for more. */
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
    if (!client->keep_open)
        close_client(client);
}

static void answer(struct client *client)
{
    request_reply(&client->request, &client->reply);
    client->keep_open = client->request.keep_open;
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

/* The end of input ends a request that has no newline. */
static void read_request(struct client *client)
{
    ssize_t n = fd_receive_foreign(client->watch.fd, client->bytes + client->got,
                                   MESSAGE_REQUEST_MAX - client->got, NULL);
    if (n == -EAGAIN || n == -EINTR)
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
        close_client(client); /* the client hung up; its command goes on */
}

/* Takes `fd` over. On failure closes it, frees the client and returns false. */
static bool init_client(struct control *control, struct client *client, int fd)
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

static void admit(struct control *control, struct client *client, int fd)
{
    struct ucred peer = {.uid = (uid_t)-1, .gid = (gid_t)-1};
    socklen_t size = sizeof peer;
    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
    if (!init_client(control, client, fd))
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

/* Accepts all clients that wait and that the table has room for. */
static void accept_clients(void *owner)
{
    struct control *control = owner;
    struct client *client;
    while ((client = free_client(control))) {
        int fd = accept4(control->socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            admit(control, client, fd);
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED)
            continue;
        if (errno != EAGAIN)
            control->paused_until = clock_now() + ACCEPT_PAUSE;
        break;
    }
    update_watch(control);
}

void control_hold(struct control *control, bool hold)
{
    if (control->held == hold)
        return;
    control->held = hold;
    update_watch(control);
}

static bool is_talking(const struct client *client)
{
    switch (client->state) {
    case CLIENT_READING:
    case CLIENT_ASKING: return true;
    case CLIENT_WAITING: return !client->request.wait; /* its answer is sent at the next step */
    case CLIENT_WRITING: return !client->keep_open;
    default: return false;
    }
}

bool control_is_quiet(const struct control *control)
{
    for (int i = 0; i < CLIENTS; i++)
        if (is_talking(&control->clients[i]))
            return false;
    return true;
}

void control_interrupt(struct control *control)
{
    for (int i = 0; i < CLIENTS; i++) {
        struct client *client = &control->clients[i];
        if (client->state != CLIENT_WAITING || client->request.survives_upgrade)
            continue;
        request_fail(&client->request, "an upgrade interrupted this request");
        answer(client);
    }
}

void control_save(const struct control *control, struct state *state)
{
    for (int i = 0; i < CLIENTS; i++) {
        const struct client *client = &control->clients[i];
        if (client->state != CLIENT_WAITING || !client->request.survives_upgrade)
            continue;
        struct state_caller *saved = state_add(state, STATE_CALLER);
        *saved = (struct state_caller){
            .fd = client->watch.fd,
            .pid = client->request.pid,
            .uid = client->request.uid,
            .json = client->request.json,
        };
    }
}

void control_adopt(struct control *control, const struct state *state, request_wait_fn *wait)
{
    const struct state_caller *saved;
    for (int i = 0; (saved = state_at(state, STATE_CALLER, i)) && i < CLIENTS; i++) {
        struct client *client = &control->clients[i];
        if (!init_client(control, client, (int)saved->fd))
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

usec control_step(struct control *control, request_wait_fn *settled, struct master *master,
                  usec now)
{
    usec next = USEC_NEVER;
    int in_use = 0;
    for (int i = 0; control->in_use && i < CLIENTS; i++) {
        struct client *client = &control->clients[i];
        if (client->state == CLIENT_WAITING && settled(master, &client->request))
            answer(client);
        if (client->state != CLIENT_FREE && now >= client->deadline)
            close_client(client);
        if (client->state == CLIENT_FREE)
            continue;
        next = clock_earlier(next, client->deadline);
        in_use++;
    }
    if (control->held && in_use < control->in_use)
        next = now; /* the upgrade, which was asked earlier in this round, may go on */
    control->in_use = in_use;
    if (now >= control->paused_until)
        control->paused_until = USEC_NEVER;
    update_watch(control);
    return clock_earlier(next, control->paused_until);
}
