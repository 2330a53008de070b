/*
 * The load of the bench: a closed loop of clients in one process. Each connects, sends five bytes,
 * reads them back, closes, and starts again. The clients' addresses are spread over 127.0.1.*, for
 * with one alone the ports in TIME_WAIT run short and every server looks equally fast.
 *
 * usage: load [-l] [-c CLIENTS] [-a ADDRESSES] [-n CONNECTIONS | -t SECONDS] PORT
 * -l: the clients only listen: they send nothing, and want five bytes and the end of the stream.
 * Prints one JSON object. Exit 0 when no connection failed, 1 when one did, 2 for the usage.
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
#include <time.h>
#include <unistd.h>

#define WORD        5
#define CLIENTS_MAX 1024
#define ERRORS_MAX  1000
#define BUCKETS     1000000 /* of a microsecond each; what takes longer is counted in the last */
#define GRACE_NS    10000000000ull

struct client {
    int fd; /* -1: not connected */
    bool sent;
    size_t got;
    uint64_t since;
    char word[WORD + 1];
};

static struct {
    int port, clients, addresses;
    uint64_t connections; /* to start at most; 0: as many as there is time for */
    double seconds;
    bool listen;
} options = {.clients = 16, .addresses = 64, .seconds = 3};

static struct client clients[CLIENTS_MAX];
static uint32_t histogram[BUCKETS];
static uint64_t started, answered, errors, deadline;
static int epoll_fd, open_count;

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

static int client_connect(struct client *client)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)options.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = client};
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->fd < 0 || client_bind(client->fd) != 0)
        return -1;
    if (connect(client->fd, (struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS)
        return -1;
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, client->fd, &event);
}

static void client_open(struct client *client)
{
    *client = (struct client){.fd = -1, .since = now_ns()};
    while (client->fd < 0 && load_goes_on(client->since)) {
        snprintf(client->word, sizeof client->word, "%05x", (unsigned)(started & 0xfffff));
        if (client_connect(client) == 0) {
            open_count++;
        } else {
            errors++;
            if (client->fd >= 0)
                close(client->fd);
            client->fd = -1;
        }
        started++;
    }
}

static void client_close(struct client *client, bool well)
{
    if (well) {
        uint64_t usec = (now_ns() - client->since) / 1000;
        histogram[usec < BUCKETS ? usec : BUCKETS - 1]++;
        answered++;
    } else {
        errors++;
    }
    close(client->fd);
    client->fd = -1;
    open_count--;
}

/* 1: answered, 0: not yet, -1: failed. */
static int client_step(struct client *client, uint32_t events)
{
    char buf[WORD];
    ssize_t n;
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

/* Those in hand at the end may finish; a server that hangs is not waited for forever. */
static void load_run(void)
{
    struct epoll_event events[64];
    for (int i = 0; i < options.clients; i++)
        client_open(&clients[i]);
    while (open_count > 0 && now_ns() < deadline + GRACE_NS) {
        int n = epoll_wait(epoll_fd, events, 64, 1000);
        for (int i = 0; i < n; i++) {
            struct client *client = events[i].data.ptr;
            int step = client_step(client, events[i].events);
            if (step == 0)
                continue;
            client_close(client, step > 0);
            client_open(client);
        }
    }
    errors += (uint64_t)open_count;
}

/* In microseconds: within how many were `share` of the connections answered? */
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
    while ((option = getopt(argc, argv, "lc:a:n:t:")) != -1) {
        if (option == 'l')
            options.listen = true;
        else if (option == 'c')
            options.clients = atoi(optarg);
        else if (option == 'a')
            options.addresses = atoi(optarg);
        else if (option == 'n')
            options.connections = strtoull(optarg, NULL, 10);
        else if (option == 't')
            options.seconds = atof(optarg);
        else
            return false;
    }
    options.port = optind == argc - 1 ? atoi(argv[optind]) : 0;
    return options.port > 0 && options.port < 65536 && options.clients > 0 &&
           options.clients <= CLIENTS_MAX && options.addresses > 0 && options.addresses < 255 &&
           options.seconds > 0 && options.seconds <= 3600;
}

int main(int argc, char **argv)
{
    if (!options_parse(argc, argv)) {
        fputs("usage: load [-l] [-c CLIENTS] [-a ADDRESSES] [-n CONNECTIONS | -t SECONDS] PORT\n",
              stderr);
        return 2;
    }
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    uint64_t start = now_ns();
    deadline = start + (uint64_t)((options.connections > 0 ? 60 : options.seconds) * 1e9);
    load_run();
    double seconds = (double)(now_ns() - start) / 1e9;
    printf("{\"connections\": %" PRIu64 ", \"errors\": %" PRIu64 ", \"seconds\": %.3f, "
           "\"rate\": %.1f, \"p50_us\": %u, \"p99_us\": %u, \"p999_us\": %u}\n",
           answered, errors, seconds, (double)answered / seconds, load_quantile(0.5),
           load_quantile(0.99), load_quantile(0.999));
    return errors > 0;
}
