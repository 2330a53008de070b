/*
 * control_path - where the daemon's control socket is by default, for preforkd and preforkctl; and
 * where programs say how they are.
 */
#ifndef PREFORKD_BASE_CONTROL_PATH_H
#define PREFORKD_BASE_CONTROL_PATH_H

#define PLACE_RUN       "/run/preforkd"
#define PLACE_CONTROL   PLACE_RUN "/control.sock" /* where root started it */
#define PLACE_OWN_NAME  "preforkd.sock"           /* else, in ... */
#define PLACE_OWN_UNDER "XDG_RUNTIME_DIR"

/* A directory of sockets: where root started the daemon; else, below PLACE_OWN_UNDER; and where
 * neither can be had, as mkdtemp(3) makes it. */
#define PLACE_NOTIFY      PLACE_RUN "/notify"
#define PLACE_OWN_NOTIFY  "preforkd-notify"
#define PLACE_TEMP_NOTIFY "/tmp/preforkd-notify-XXXXXX"

#endif
