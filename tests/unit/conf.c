#include "conf.h"

#include <check.h>
#include <ftw.h>
#include <netdb.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[64], before[4096];

static const char *const stderr_words[] = {"log", "socket", "null", NULL};
static const struct option_row no_rows[] = {OPTION_END};
static const struct option_row exec_rows[] = {
    {.name = "command",
     .type = OPTION_WORDS,
     .offset = offsetof(struct conf_exec, command),
     .min = 1,
     .max = 100,
     .flags = OPTION_REQUIRED},
    {.name = "stderr",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct conf_exec, stderr_choice),
     .choices = stderr_words,
     .fallback = "log",
     .flags = OPTION_LIVE},
    OPTION_END,
};
static const struct handler_section echo = {.name = "echo",
                                            .rows = no_rows,
                                            .scopes = SCOPE_CONNECTIONS | SCOPE_CLIENT,
                                            .models = 1 << MODEL_THREAD | 1 << MODEL_EVENT};
static const struct handler_section discard = {
    .name = "discard", .rows = no_rows, .scopes = SCOPE_CONNECTIONS | SCOPE_CLIENT};
static const struct handler_section exec = {.name = "exec",
                                            .rows = exec_rows,
                                            .size = sizeof(struct conf_exec),
                                            .scopes = SCOPE_CONNECTIONS,
                                            .process_only = "its program has it"};
const struct handler_section *const conf_handlers[] = {&echo, &discard, &exec, NULL};

/* Replaces the system's names of hosts: "two.test" has an address of each family, one of them
 * listed twice. */
int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    static struct sockaddr_in in = {.sin_family = AF_INET};
    static struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    static struct addrinfo third = {.ai_addrlen = sizeof in, .ai_addr = (struct sockaddr *)&in};
    static struct addrinfo second = {
        .ai_addrlen = sizeof in6, .ai_addr = (struct sockaddr *)&in6, .ai_next = &third};
    static struct addrinfo first = {
        .ai_addrlen = sizeof in, .ai_addr = (struct sockaddr *)&in, .ai_next = &second};
    (void)service;
    (void)hints;
    if (strcmp(host, "two.test") != 0)
        return EAI_NONAME;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    in6.sin6_addr = in6addr_loopback;
    *found = &first;
    return 0;
}

void freeaddrinfo(struct addrinfo *found)
{
    (void)found;
}

static int remove_entry(const char *path, const struct stat *stat, int type, struct FTW *where)
{
    (void)stat;
    (void)type;
    (void)where;
    return remove(path);
}

void conf_open(void)
{
    strcpy(directory, "/tmp/preforkd-unit-XXXXXX");
    ck_assert(getcwd(before, sizeof before) != NULL);
    ck_assert(mkdtemp(directory) != NULL);
    ck_assert_int_eq(chdir(directory), 0);
}

void conf_close(void)
{
    ck_assert_int_eq(chdir(before), 0);
    nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void conf_write_bytes(const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(name, "w");
    ck_assert_msg(file != NULL, "%s cannot be written", name);
    ck_assert_uint_eq(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

void conf_write(const char *name, const char *text)
{
    conf_write_bytes(name, text, strlen(text));
}

const char *conf_self(void)
{
    static char digits[16];
    const struct passwd *entry = getpwuid(geteuid());
    snprintf(digits, sizeof digits, "%u", geteuid());
    return entry ? entry->pw_name : digits;
}

struct config *conf_load_file(const char *name)
{
    struct config *config = config_new();
    ck_assert(config != NULL);
    config_load(config, name, conf_handlers);
    return config;
}

struct config *conf_load(const char *text)
{
    conf_write("t.conf", text);
    return conf_load_file("t.conf");
}

char *conf_faults(const struct config *config)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    for (const struct fault *f = config->faults.first; f; f = f->next) {
        if (strcmp(f->file, "t.conf") != 0)
            fprintf(out, "%s:", f->file);
        fprintf(out, "%d: %s\n", f->line, f->text);
    }
    fclose(out);
    return text;
}

/* Whether a line of faults is as expected: the place, ": ", and somewhere the words. */
static bool is_expected(const char *line, size_t length, const char *expected,
                        size_t expected_length)
{
    char got[2048], want[1024];
    snprintf(got, sizeof got, "%.*s", (int)length, line);
    snprintf(want, sizeof want, "%.*s", (int)expected_length, expected);
    char *words = strstr(want, ": ");
    ck_assert_msg(words != NULL, "no place in what is expected: %s", want);
    size_t place = (size_t)(words + 2 - want);
    return strncmp(got, want, place) == 0 && strstr(got + place, words + 2);
}

void conf_expect(const char *what, const struct config *config, const char *expected)
{
    char *faults = conf_faults(config);
    const char *got = faults, *want = expected;
    while (*got && *want) {
        size_t got_length = strcspn(got, "\n"), want_length = strcspn(want, "\n");
        if (!is_expected(got, got_length, want, want_length))
            break;
        got += got_length + (got[got_length] == '\n');
        want += want_length + (want[want_length] == '\n');
    }
    ck_assert_msg(*got == '\0' && *want == '\0', "%s\n-- expected:\n%s\n-- got:\n%s", what,
                  expected, faults);
    free(faults);
}

char *conf_dump(const struct config *config)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    config_dump(config, out);
    fclose(out);
    return text;
}
