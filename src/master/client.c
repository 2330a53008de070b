#include "client.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_PATIENCE (5 * USEC_SECOND)
#define REPLY_PATIENCE   (30 * USEC_SECOND)

void client_close(struct client *client)
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
        client_close(client);
}

void client_answer(struct client *client)
{
    request_reply(&client->request, &client->reply);
    client->lasts = client->request.lasts;
    request_done(&client->request);
    client->state = CLIENT_WRITING;
    client->deadline = clock_now() + REPLY_PATIENCE;
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
    client_answer(client);
}

/* A client that sends no newline may end its line by closing its half of the connection. */
static void read_request(struct client *client)
{
    ssize_t n = recv(client->watch.fd, client->bytes + client->got,
                     MESSAGE_REQUEST_MAX - client->got, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0 || (n == 0 && client->got == 0)) {
        client_close(client);
        return;
    }
    client->got += (size_t)n;
    take_request(client, n == 0);
}

static void ready(void *owner)
{
    struct client *client = owner;
    if (client->state == CLIENT_READING)
        read_request(client);
    else if (client->state == CLIENT_WRITING)
        write_reply(client);
    else
        client_close(client); /* the client left: the command goes on */
}

static void begin(struct client *client, struct loop *loop, int fd)
{
    *client = (struct client){
        .state = CLIENT_READING,
        .loop = loop,
        .watch = {.fd = fd, .ready = ready, .owner = client},
        .deadline = clock_now() + REQUEST_PATIENCE,
    };
    if (loop_add(loop, &client->watch) != 0)
        client_close(client);
}

void client_open(struct client *client, struct loop *loop, int fd, pid_t pid, uid_t uid)
{
    begin(client, loop, fd);
    client->request.pid = pid;
    client->request.uid = uid;
}

void client_adopt(struct client *client, struct loop *loop, int fd)
{
    begin(client, loop, fd);
    if (client->state == CLIENT_FREE)
        return;
    client->state = CLIENT_WAITING;
    client->deadline = USEC_NEVER;
    loop_change(loop, &client->watch, LOOP_HANGUP);
}

usec client_step(struct client *client, usec now)
{
    if (now < client->deadline)
        return client->deadline;
    client_close(client);
    return USEC_NEVER;
}
