/*
 * conf - configurations for tests: a directory of its own with files in it, and what loading them
 * says.
 */
#ifndef PREFORKD_TESTS_CONF_H
#define PREFORKD_TESTS_CONF_H

#include "../../src/config/config.h"

/* Handlers as tests need them: echo has no options, exec has a command and refuses idle_timeout. */
struct conf_exec {
    struct words command;
    int stderr_choice;
};

extern const struct handler_section *const conf_handlers[];

/* Makes the directory and goes there; goes back and removes it with all files. */
void conf_open(void);
void conf_close(void);

void conf_write(const char *name, const char *text);
void conf_write_bytes(const char *name, const void *bytes, size_t size);

/* The name of who runs the test: a user that pools may have, as root and else. */
const char *conf_self(void);

/* Writes `text` as the file t.conf, and loads it. Give it back by config_unref. */
struct config *conf_load(const char *text);
struct config *conf_load_file(const char *name);

/* The faults, a line each: "LINE: what", with the file before it where it isn't t.conf. To be
 * freed. */
char *conf_faults(const struct config *config);

/* Fails the test unless the faults are those expected: a line each, in order, of which each must
 * begin with the place, and have in it what follows. `what` names the case. */
void conf_expect(const char *what, const struct config *config, const char *expected);

/* The dump. To be freed. */
char *conf_dump(const struct config *config);

#endif
