/*
 * places - where the daemon's control socket is by default: preforkd and preforkctl look there.
 *
 * Called by: config/rules, ctl.
 * Runs in:   any process.
 */
#ifndef PREFORKD_BASE_PLACES_H
#define PREFORKD_BASE_PLACES_H

#define PLACE_RUN       "/run/preforkd"
#define PLACE_CONTROL   PLACE_RUN "/control.sock" /* where root started it */
#define PLACE_OWN_NAME  "preforkd.sock"           /* else, in ... */
#define PLACE_OWN_UNDER "XDG_RUNTIME_DIR"

#endif
