// An HTTP server with Node's own library, on the listener in descriptor 3. On SIGTERM it finishes the
// requests in hand.
const http = require('http');

const server = http.createServer((request, response) => {
  response.writeHead(200, { 'Content-Type': 'text/plain', Connection: 'close' });
  response.end('hello from Node\n');
});

server.listen({ fd: 3 });
process.on('SIGTERM', () => server.close(() => process.exit(0)));
