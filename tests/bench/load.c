/*
 * The load of the bench: a closed loop of clients in one process. Each connects, sends five bytes,
 * reads them back, closes, and starts again. The clients' addresses are spread over 127.0.1.*: with
 * one address the ports in TIME_WAIT run out, and every server looks equally fast.
 *
 * usage: load [-l | -q FILE] [-c CLIENTS] [-a ADDRESSES] [-n CONNECTIONS] [-t SECONDS] [-g SECONDS]
 *             PORT | PATH
 * -l: the clients only listen: they send nothing, and expect five bytes and the end of the stream.
 * -q: each client sends the contents of FILE, and expects an answer with "hello" in it, and the end
 *     of the stream.
 * -t: for how long connections are started (3, with -n 60); -g: for how much longer those in hand
 *     may last (10). PATH is the absolute path of a Unix socket. A client whose connection failed
 *     pauses for 10 ms.
 * Prints one JSON object. Exits with 0 if no connection failed, 1 if one did, 2 after the usage.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define WORD        5
#define CLIENTS_MAX 1024
#define ERRORS_MAX  1000
#define BUCKETS     1000000 /* of a microsecond each; what takes longer is counted in the last */
#define PAUSE_NS    10000000ull
#define REQUEST_MAX 8192
#define ANSWER_MAX  4096 /* of an answer so much is looked at */

struct client {
    int fd; /* -1: not connected */
    bool sent;
    size_t got;
    uint64_t since, pause_until;
    char word[WORD + 1];
    char *answer; /* with -q */
};

static struct {
    int port, clients, addresses;
    uint64_t connections; /* to start at most; 0: as many as there is time for */
    double seconds, grace;
    bool listen;
    const char *path, *request_file;
} options = {.clients = 16, .addresses = 64, .grace = 10};

static struct client clients[CLIENTS_MAX];
static uint32_t histogram[BUCKETS];
static uint64_t started, answered, errors, deadline;
static int epoll_fd, open_count, paused_count;
static char request[REQUEST_MAX];
static size_t request_size;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static bool load_goes_on(uint64_t now)
{
    return now < deadline && errors < ERRORS_MAX &&
           (options.connections == 0 || started < options.connections);
}

static int client_bind(int fd)
{
    uint32_t host = (127u << 24) + (1u << 8) + 1 + (uint32_t)(started % options.addresses);
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(host)};
    int on = 1;
    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) != 0)
        return -1;
    return bind(fd, (struct sockaddr *)&from, sizeof from);
}

static int client_connect_unix(int fd)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    memcpy(to.sun_path, options.path, strlen(options.path) + 1);
    return connect(fd, (struct sockaddr *)&to, sizeof to);
}

static int client_connect_tcp(int fd)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)options.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (client_bind(fd) != 0)
        return -1;
    return connect(fd, (struct sockaddr *)&to, sizeof to) == 0 || errno == EINPROGRESS ? 0 : -1;
}

static int client_connect(struct client *client)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = client};
    client->fd =
        socket(options.path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->fd < 0)
        return -1;
    if ((options.path ? client_connect_unix(client->fd) : client_connect_tcp(client->fd)) != 0)
        return -1;
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, client->fd, &event);
}

static void client_failed(struct client *client)
{
    errors++;
    client->pause_until = now_ns() + PAUSE_NS;
    paused_count++;
}

static void client_open(struct client *client)
{
    *client = (struct client){.fd = -1, .since = now_ns(), .answer = client->answer};
    if (!load_goes_on(client->since))
        return;
    snprintf(client->word, sizeof client->word, "%05x", (unsigned)(started & 0xfffff));
    started++;
    if (client_connect(client) == 0) {
        open_count++;
        return;
    }
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
    client_failed(client);
}

static void client_resume_paused(void)
{
    uint64_t now = now_ns();
    for (int i = 0; i < options.clients && paused_count > 0; i++) {
        if (clients[i].pause_until == 0 || clients[i].pause_until > now)
            continue;
        paused_count--;
        client_open(&clients[i]);
    }
}

/* A client whose connection was good starts its next one. */
static void client_close(struct client *client, bool well)
{
    close(client->fd);
    client->fd = -1;
    open_count--;
    if (well) {
        uint64_t usec = (now_ns() - client->since) / 1000;
        histogram[usec < BUCKETS ? usec : BUCKETS - 1]++;
        answered++;
        client_open(client);
    } else {
        client_failed(client);
    }
}

/* Like client_step(), for the answer to a request. */
static int client_step_request(struct client *client, uint32_t events)
{
    char rest[ANSWER_MAX];
    ssize_t n;
    if (!client->sent && (events & EPOLLOUT)) {
        if (send(client->fd, request, request_size, MSG_NOSIGNAL) != (ssize_t)request_size)
            return -1;
        client->sent = true;
    }
    do {
        size_t room = ANSWER_MAX - client->got;
        n = recv(client->fd, room ? client->answer + client->got : rest, room ? room : sizeof rest,
                 0);
        if (n > 0 && room)
            client->got += (size_t)n;
    } while (n > 0);
    if (n < 0)
        return errno == EAGAIN ? 0 : -1;
    return memmem(client->answer, client->got, "hello", WORD) ? 1 : -1;
}

/* 1: answered, 0: not yet, -1: failed. */
static int client_step(struct client *client, uint32_t events)
{
    char buf[WORD];
    ssize_t n;
    if (request_size > 0)
        return client_step_request(client, events);
    if (!client->sent && !options.listen && (events & EPOLLOUT)) {
        if (send(client->fd, client->word, WORD, MSG_NOSIGNAL) != WORD)
            return -1;
        client->sent = true;
    }
    while ((n = recv(client->fd, buf, sizeof buf, 0)) > 0) {
        if (client->got + (size_t)n > WORD)
            return -1;
        if (!options.listen && memcmp(buf, client->word + client->got, (size_t)n) != 0)
            return -1;
        client->got += (size_t)n;
        if (client->got == WORD && !options.listen)
            return 1;
    }
    if (n == 0 && options.listen && client->got == WORD)
        return 1;
    return n < 0 && errno == EAGAIN ? 0 : -1;
}

/* Connections in hand may finish, but a hanging server is not awaited forever. */
static void load_run(void)
{
    struct epoll_event events[64];
    uint64_t last = deadline + (uint64_t)(options.grace * 1e9);
    for (int i = 0; i < options.clients; i++)
        client_open(&clients[i]);
    while (open_count + paused_count > 0 && now_ns() < last) {
        int n = epoll_wait(epoll_fd, events, 64, paused_count > 0 ? 1 : 1000);
        for (int i = 0; i < n; i++) {
            struct client *client = events[i].data.ptr;
            int step = client_step(client, events[i].events);
            if (step != 0)
                client_close(client, step > 0);
        }
        client_resume_paused();
    }
    errors += (uint64_t)open_count;
}

/* The number of microseconds within which `share` of the connections were answered. */
static unsigned load_quantile(double share)
{
    uint64_t seen = 0;
    for (unsigned usec = 0; usec < BUCKETS; usec++) {
        seen += histogram[usec];
        if (seen > 0 && (double)seen >= share * (double)answered)
            return usec;
    }
    return 0;
}

static bool options_parse(int argc, char **argv)
{
    int option;
    while ((option = getopt(argc, argv, "lq:c:a:n:t:g:")) != -1) {
        if (option == 'l')
            options.listen = true;
        else if (option == 'q')
            options.request_file = optarg;
        else if (option == 'c')
            options.clients = atoi(optarg);
        else if (option == 'a')
            options.addresses = atoi(optarg);
        else if (option == 'n')
            options.connections = strtoull(optarg, NULL, 10);
        else if (option == 't')
            options.seconds = atof(optarg);
        else if (option == 'g')
            options.grace = atof(optarg);
        else
            return false;
    }
    const char *to = optind == argc - 1 ? argv[optind] : "";
    options.path = *to == '/' ? to : NULL;
    options.port = options.path ? 0 : atoi(to);
    if (options.seconds == 0)
        options.seconds = options.connections > 0 ? 60 : 3;
    bool known = options.path ? strlen(to) < sizeof((struct sockaddr_un *)0)->sun_path
                              : options.port > 0 && options.port < 65536;
    return known && options.clients > 0 && options.clients <= CLIENTS_MAX &&
           options.addresses > 0 && options.addresses < 255 && options.seconds > 0 &&
           options.seconds <= 3600;
}

static bool request_read(void)
{
    FILE *file = fopen(options.request_file, "rb");
    request_size = file ? fread(request, 1, sizeof request, file) : 0;
    if (file)
        fclose(file);
    for (int i = 0; i < options.clients; i++)
        if (!(clients[i].answer = malloc(ANSWER_MAX)))
            return false;
    return request_size > 0 && request_size < sizeof request;
}

int main(int argc, char **argv)
{
    if (!options_parse(argc, argv)) {
        fputs("usage: load [-l | -q FILE] [-c CLIENTS] [-a ADDRESSES] "
              "[-n CONNECTIONS] [-t SECONDS] [-g SECONDS] PORT | PATH\n",
              stderr);
        return 2;
    }
    if (options.request_file && !request_read()) {
        fprintf(stderr, "load: %s: not read, empty or too large\n", options.request_file);
        return 2;
    }
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    uint64_t start = now_ns();
    deadline = start + (uint64_t)(options.seconds * 1e9);
    load_run();
    double seconds = (double)(now_ns() - start) / 1e9;
    printf("{\"connections\": %" PRIu64 ", \"errors\": %" PRIu64 ", \"seconds\": %.3f, "
           "\"rate\": %.1f, \"p50_us\": %u, \"p99_us\": %u, \"p999_us\": %u}\n",
           answered, errors, seconds, (double)answered / seconds, load_quantile(0.5),
           load_quantile(0.99), load_quantile(0.999));
    return errors > 0;
}
