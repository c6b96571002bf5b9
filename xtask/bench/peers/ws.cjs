// Node's `ws` at the tasks of `cargo xtask bench`: receive URL COUNT, or send URL COUNT SIZE.
const WebSocket = require('ws');

const [what, url, count, size] = process.argv.slice(2);
const total = Number(count);
const warmUp = Math.floor(total / 10);
const socket = new WebSocket(url, { perMessageDeflate: false });
let seen = 0;
let cpu, wall;

function hit() {
  seen += 1;
  if (seen === warmUp) {
    cpu = process.cpuUsage();
    wall = process.hrtime.bigint();
  } else if (seen === total) {
    const { user, system } = process.cpuUsage(cpu);
    const seconds = Number(process.hrtime.bigint() - wall) / 1e9;
    const measured = total - warmUp;
    console.log(JSON.stringify({ cpu_ns: ((user + system) * 1e3) / measured, per_s: measured / seconds }));
    process.exit(0);
  }
}

if (what === 'receive') {
  socket.on('message', hit);
} else {
  const message = Buffer.alloc(Number(size), 'x');
  let sent = 0;
  const fill = () => {
    for (let batch = 0; batch < 128 && sent < total; batch += 1, sent += 1) {
      socket.send(message, batch === 127 ? () => { hit(); fill(); } : hit);
    }
  };
  socket.on('open', fill);
}
socket.on('error', (error) => { console.error(String(error)); process.exit(1); });
