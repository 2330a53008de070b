/* Any bytes as a configuration: no crash, no leak; and without a fault, its dump reads back to the
 * same dump. */
#include "fuzz.h"

#include "../../src/config/config.h"

#include <glob.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct exec {
    struct words command;
    long long limit;
    int choice;
};

static const char *const choices[] = {"log", "socket", "null", NULL};
static const struct option_row no_rows[] = {OPTION_END};
static const struct option_row exec_rows[] = {
    {.name = "command",
     .type = OPTION_WORDS,
     .offset = offsetof(struct exec, command),
     .flags = OPTION_REQUIRED},
    {.name = "limit",
     .type = OPTION_LIMIT,
     .offset = offsetof(struct exec, limit),
     .fallback = "1K"},
    {.name = "stderr",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct exec, choice),
     .choices = choices,
     .fallback = "log"},
    OPTION_END,
};
static const struct handler_section echo = {
    .name = "echo", .rows = no_rows, .scopes = SCOPE_CONNECTIONS | SCOPE_CLIENT};
static const struct handler_section exec = {
    .name = "exec", .rows = exec_rows, .size = sizeof(struct exec), .scopes = SCOPE_CONNECTIONS};
static const struct handler_section *const handlers[] = {&echo, &exec, NULL};

/* No lookup leaves the process, and no pattern walks through the disk. */
int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    static struct sockaddr_in in = {.sin_family = AF_INET};
    static struct addrinfo one = {.ai_addrlen = sizeof in, .ai_addr = (struct sockaddr *)&in};
    (void)service;
    (void)hints;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *found = &one;
    return strchr(host, 'x') ? EAI_NONAME : 0;
}

void freeaddrinfo(struct addrinfo *found)
{
    (void)found;
}

int glob(const char *pattern, int flags, int (*fault)(const char *, int), glob_t *found)
{
    (void)pattern;
    (void)flags;
    (void)fault;
    (void)found;
    return GLOB_NOMATCH;
}

static struct config *load(const void *bytes, size_t size)
{
    char path[64];
    struct config *config = config_new();
    int fd = memfd_create("config", MFD_CLOEXEC);
    if (!config || fd < 0 || write(fd, bytes, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    config_load(config, path, handlers);
    close(fd);
    return config;
}

static char *dump(const struct config *config, size_t *size)
{
    char *text;
    FILE *out = open_memstream(&text, size);
    config_dump(config, out);
    fclose(out);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct config *config = load(bytes, size);
    if (config->faults.count == 0) {
        char what[200];
        size_t first_size, second_size;
        char *first = dump(config, &first_size);
        struct config *again = load(first, first_size);
        if (again->faults.count)
            abort();
        char *second = dump(again, &second_size);
        if (strcmp(first, second) != 0)
            abort();
        for (int i = 0; i < config->pool_count; i++)
            if (config_compare(config->pools[i], again->pools[i], what, sizeof what) != POOL_KEPT)
                abort();
        free(first);
        free(second);
        config_unref(again);
    }
    config_unref(config);
    return 0;
}
