// Asks for a token, until the node knows it.

import { say } from './dom.js';

export class Login {
  #main = document.getElementById('login');
  #token = document.getElementById('token');
  #problem = document.getElementById('login-problem');

  /** `enter` tries a token, and throws if it is none. */
  constructor(enter) {
    document.getElementById('login-form').addEventListener('submit', async (event) => {
      event.preventDefault();
      try {
        await enter(this.#token.value.trim());
        this.#token.value = '';
      } catch (problem) {
        this.show(problem.status === 401 ? 'Nobody has this token.' : problem.message);
      }
    });
  }

  show(problem) {
    this.#main.hidden = false;
    this.#problem.hidden = !problem;
    say(this.#problem, problem ?? '');
    this.#token.focus();
    this.#token.select();
  }

  hide() {
    this.#main.hidden = true;
  }
}
