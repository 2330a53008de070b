/* A closed loop of FastCGI clients in one process: each connects to a Unix socket, sends one
 * request for a program, reads the answer to the end of the stream, and starts again. With -w, they
 * are a web server's clients, and request a path by HTTP/1.0.
 *
 * usage: fcgi [-w] SOCKET PROGRAM CLIENTS SECONDS
 *
 * Prints what was served and what failed: "requests=N failed=N seconds=S". */
#include "../../src/wire/fcgi.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS_MAX = 1024 };

static unsigned char request[8192];
static size_t request_size;
static struct sockaddr_un server = {.sun_family = AF_UNIX};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static size_t put_pair(unsigned char *to, const char *name, const char *value)
{
    size_t name_size = strlen(name), value_size = strlen(value);
    to[0] = (unsigned char)name_size;
    to[1] = (unsigned char)value_size;
    memcpy(to + 2, name, name_size);
    memcpy(to + 2 + name_size, value, value_size);
    return 2 + name_size + value_size;
}

/* What nginx sends for a GET. */
static void make_request(const char *program)
{
    static const char *const params[][2] = {
        {"QUERY_STRING", ""},
        {"REQUEST_METHOD", "GET"},
        {"CONTENT_TYPE", ""},
        {"CONTENT_LENGTH", ""},
        {"SCRIPT_NAME", "/hello"},
        {"REQUEST_URI", "/hello"},
        {"DOCUMENT_URI", "/hello"},
        {"DOCUMENT_ROOT", "/var/www/html"},
        {"SERVER_PROTOCOL", "HTTP/1.1"},
        {"REQUEST_SCHEME", "http"},
        {"GATEWAY_INTERFACE", "CGI/1.1"},
        {"SERVER_SOFTWARE", "nginx/1.22.1"},
        {"REMOTE_ADDR", "127.0.0.1"},
        {"REMOTE_PORT", "40000"},
        {"SERVER_ADDR", "127.0.0.1"},
        {"SERVER_PORT", "80"},
        {"SERVER_NAME", "localhost"},
        {"REDIRECT_STATUS", "200"},
        {"HTTP_HOST", "localhost"},
        {"HTTP_USER_AGENT", "bench/1.0"},
        {"HTTP_ACCEPT", "*/*"},
    };
    static const unsigned char begin[FCGI_BODY] = {0, FCGI_RESPONDER};
    unsigned char *at = request;
    at += fcgi_put_header(at, FCGI_BEGIN_REQUEST, 1, sizeof begin);
    memcpy(at, begin, sizeof begin);
    at += sizeof begin;
    unsigned char *content = at + FCGI_HEADER, *end = content;
    end += put_pair(end, "SCRIPT_FILENAME", program);
    for (unsigned i = 0; i < sizeof params / sizeof *params; i++)
        end += put_pair(end, params[i][0], params[i][1]);
    fcgi_put_header(at, FCGI_PARAMS, 1, (size_t)(end - content));
    end += fcgi_put_header(end, FCGI_PARAMS, 1, 0);
    end += fcgi_put_header(end, FCGI_STDIN, 1, 0);
    request_size = (size_t)(end - request);
}

static void make_web_request(const char *path)
{
    request_size = (size_t)snprintf((char *)request, sizeof request,
                                    "GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n", path);
}

static int begin(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&server, sizeof server) != 0 ||
        write(fd, request, request_size) != (ssize_t)request_size) {
        perror("fcgi");
        exit(EXIT_FAILURE);
    }
    return fd;
}

/* Returns whether the stream has ended; then `good` says whether it was as expected. */
static int read_some(int fd, size_t *got, int *good)
{
    char data[4096];
    ssize_t n = read(fd, data, sizeof data);
    if (n > 0 && memmem(data, (size_t)n, "hello", 5))
        *good = 1;
    if (n > 0)
        *got += (size_t)n;
    return n <= 0;
}

int main(int argc, char **argv)
{
    static struct pollfd clients[CLIENTS_MAX];
    static size_t got[CLIENTS_MAX];
    static int good[CLIENTS_MAX];
    bool web = argc > 1 && strcmp(argv[1], "-w") == 0;
    argv += web;
    argc -= web;
    int count = argc == 5 ? atoi(argv[3]) : 0;
    unsigned long served = 0, failed = 0;
    if (count < 1 || count > CLIENTS_MAX || strlen(argv[1]) >= sizeof server.sun_path ||
        strlen(argv[2]) > 127) {
        fprintf(stderr, "usage: fcgi [-w] SOCKET PROGRAM CLIENTS SECONDS\n");
        return EXIT_FAILURE;
    }
    strcpy(server.sun_path, argv[1]);
    if (web)
        make_web_request(argv[2]);
    else
        make_request(argv[2]);
    double began = now(), until = began + atof(argv[4]);
    for (int i = 0; i < count; i++)
        clients[i] = (struct pollfd){.fd = begin(), .events = POLLIN};
    while (now() < until) {
        if (poll(clients, (nfds_t)count, 1000) <= 0)
            continue;
        for (int i = 0; i < count; i++) {
            if (!clients[i].revents || !read_some(clients[i].fd, &got[i], &good[i]))
                continue;
            served += good[i] != 0;
            failed += !good[i];
            got[i] = 0;
            good[i] = 0;
            close(clients[i].fd);
            clients[i].fd = begin();
        }
    }
    printf("requests=%lu failed=%lu seconds=%.3f\n", served, failed, now() - began);
    return EXIT_SUCCESS;
}
