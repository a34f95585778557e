function pay_with_notes(amount, notes){
    const paid = [];
    for (const note of [...notes].sort((one, other) => other - one)) {
        while (note <= amount) {
            paid.push(note);
            amount -= note;
        }
    }
    return paid;
}
