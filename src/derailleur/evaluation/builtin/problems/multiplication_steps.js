function multiplication_steps(number){
    let steps = 0;
    while (number > 9) {
        number = [...String(number)].reduce((product, digit) => product * Number(digit), 1);
        steps += 1;
    }
    return steps;
}
