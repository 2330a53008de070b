// An HTTP server with Node's own library, on the listener in descriptor 3. On SIGTERM it finishes the
// requests in hand.
const fs = require('fs');
const http = require('http');

// Descriptor 0 is the listener, too. When Node exits, it restores the flags that its standard
// descriptors had at its start: the listener would become blocking while other servers use it.
fs.closeSync(0);
fs.openSync('/dev/null');

const server = http.createServer((request, response) => {
  response.writeHead(200, { 'Content-Type': 'text/plain', Connection: 'close' });
  response.end('hello from Node\n');
});

server.listen({ fd: 3 });
process.on('SIGTERM', () => server.close(() => process.exit(0)));
