/*
 * cgi_script - which program a request means: the configured one, or one beneath the root that the
 * web server names.
 *
 * It derives a path from SCRIPT_FILENAME, or from DOCUMENT_ROOT and SCRIPT_NAME, and opens the
 * file; that decides what PATH_INFO and the variables that depend on it are. Nothing is run here.
 */
#ifndef PREFORKD_HANDLERS_CGI_SCRIPT_H
#define PREFORKD_HANDLERS_CGI_SCRIPT_H

#include "../config/option.h"
#include "cgi_env.h"

#include <limits.h>

struct cgi_config {
    const char *root, *program;
    struct words suffixes, interpreter, template;
    int template_max_forks;
    int stderr_choice;
};

enum cgi_stderr { CGI_STDERR_LOG, CGI_STDERR_SERVER };

struct cgi_script {
    char path[PATH_MAX];     /* absolute, for the log */
    const char *name;        /* to start it from its directory: "./hello.cgi", or a path */
    const char *interpreter; /* that runs it; NULL: it is a program itself */
    int program, directory;  /* descriptors; `program` 0: start it by its name */
    int template;            /* the index of the template that may run it; -1: none */
    int source;              /* the same file, opened for the template to read; -1: it can't be
                                read, or there is no template */

    /* What is wrong with it: the HTTP status, a sentence about it for the log ("is not a regular
     * file"), and an errno or 0. */
    int status;
    const char *fault;
    int error;
};

/* Finds the program, opens it and its directory, and sets the variables that follow from it. 0, or
 * the HTTP status of a refusal: nothing is left open. */
int cgi_script_open(struct cgi_script *script, const struct cgi_config *config,
                    struct cgi_env *env);
void cgi_script_close(struct cgi_script *script);

/* The path in a word ".suffix=/path", if the name has that suffix; else NULL. */
const char *cgi_script_interpreter(const char *word, const char *name);

#endif
